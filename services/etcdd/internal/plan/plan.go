// Package plan decides what an etcd member does next. It is pure: everything seen comes in as Observed, one Action goes
// out, and applying the action changes what is seen the next time.
package plan

import (
	"fmt"
	"slices"
)

// Data is what the data directory holds.
type Data int

// States of the data directory.
const (
	// DataNone: no write-ahead log, the member was never started here.
	DataNone Data = iota
	// DataUnusable: a first start was cut off before anything was logged, a member cannot start from it.
	DataUnusable
	// DataPresent: a member that can be started again.
	DataPresent
)

// Intent is why a member is started for the first time. It is kept beside the data until the member is ready, so that a
// start which was cut off goes on where it was.
type Intent int

// Intents.
const (
	IntentNone Intent = iota
	// IntentBootstrap: the bootstrap call was accepted, a new cluster begins here.
	IntentBootstrap
	// IntentJoin: this node is on a running cluster's member list as a learner.
	IntentJoin
	// IntentRecover: the bootstrap call was accepted, a new cluster begins here with a snapshot.
	IntentRecover
)

// Out is why this node stays out of the cluster until somebody starts etcd by hand. It is kept beside the data.
type Out string

// Reasons to stay out.
const (
	// OutLeft: it was asked to leave.
	OutLeft Out = "left"
	// OutRemoved: another member took it off the list. Its data is kept, in case that was a mistake.
	OutRemoved Out = "removed"
)

// Member is an entry of the member list of a running cluster.
type Member struct {
	ID       uint64
	Name     string // empty until the member has started once
	PeerURLs []string
	Learner  bool
}

// Started reports whether the member has ever published itself.
func (m Member) Started() bool { return m.Name != "" }

// Has tells whether the member is listed under one of the addresses.
func (m Member) Has(urls []string) bool {
	return slices.ContainsFunc(urls, func(u string) bool { return slices.Contains(m.PeerURLs, u) })
}

// Observed is everything the decision depends on.
type Observed struct {
	// Config is why there is nothing to run yet ("waiting for …"), empty when the specification and keys are there.
	Config string
	// ControlPlane is false on a worker.
	ControlPlane bool

	Data     Data
	Intent   Intent
	IntentID uint64 // the member that the intent to join is about
	SkipHash bool   // of the snapshot that the intent to recover is about

	PeerURLs []string // own, as advertised
	Settings string   // fingerprint of everything that a start depends on

	Running         bool
	RunningSettings string

	// Damaged is why no member can be started from the data.
	Damaged string

	Out Out
	// ByHand: somebody started the daemon, it did not start after a crash or with the node.
	ByHand bool

	// Peers is how many other control plane nodes are known, Cluster the member list that one of them answered with.
	Peers   int
	Cluster []Member
	// ClusterError is why nobody answered.
	ClusterError string
}

// Kind of an action.
type Kind int

// Kinds.
const (
	Wait Kind = iota
	Keep
	Stop
	Wipe
	StartNew
	StartExisting
	AddLearner
	ReplaceLearner
	Join
	// StayOut waits to be started by hand.
	StayOut
	// ComeBack forgets that this node was a member.
	ComeBack
	// Restore makes the data of a member from a snapshot.
	Restore
	// Broken waits for somebody to do something about the data.
	Broken
)

var kindNames = [...]string{
	Wait: "wait", Keep: "keep", Stop: "stop", Wipe: "wipe", StartNew: "start-new", StartExisting: "start-existing",
	AddLearner: "add-learner", ReplaceLearner: "replace-learner", Join: "join",
	StayOut: "stay-out", ComeBack: "come-back", Restore: "restore", Broken: "broken",
}

func (k Kind) String() string { return kindNames[k] }

// Acts tells whether something is done.
func (k Kind) Acts() bool { return k != Wait && k != Keep && k != StayOut && k != Broken }

// Action is the next step. Reason is a sentence for people: what is waited for, or why it is done.
type Action struct {
	Kind   Kind
	Reason string
	// Member is the entry to replace, or to start as.
	Member uint64
}

func (a Action) String() string {
	if a.Member != 0 {
		return fmt.Sprintf("%s %016x: %s", a.Kind, a.Member, a.Reason)
	}

	return fmt.Sprintf("%s: %s", a.Kind, a.Reason)
}

// Decide gives the next action.
func Decide(o Observed) Action {
	switch {
	case !o.ControlPlane && o.Running:
		return Action{Kind: Stop, Reason: "this node is not a control plane node"}
	case !o.ControlPlane:
		return Action{Kind: Wait, Reason: "etcd runs on control plane nodes only"}
	case o.Running:
		return decideRunning(o)
	case o.Config != "":
		return Action{Kind: Wait, Reason: o.Config}
	case o.Out != "":
		return decideOut(o)
	case o.Data == DataPresent && o.Damaged != "":
		return Action{Kind: Broken, Reason: o.Damaged}
	case o.Data == DataPresent:
		return Action{Kind: StartExisting, Reason: "the data directory holds a member"}
	case o.Data == DataUnusable:
		return Action{Kind: Wipe, Reason: "the first start was cut off before anything was logged"}
	case o.Intent == IntentRecover:
		return Action{Kind: Restore, Reason: "recovering etcd from the snapshot"}
	case o.Intent == IntentBootstrap:
		return Action{Kind: StartNew, Reason: "bootstrap was asked for"}
	default:
		return decideJoin(o)
	}
}

func decideOut(o Observed) Action {
	switch {
	case o.ByHand:
		return Action{Kind: ComeBack, Reason: "started by hand"}
	case o.Out == OutLeft && o.Data != DataNone:
		return Action{Kind: Wipe, Reason: "this node left the cluster"}
	case o.Out == OutLeft:
		return Action{Kind: StayOut, Reason: "this node left the cluster; it joins again when etcd is restarted by hand (service etcdd restart)"}
	default:
		return Action{Kind: StayOut, Reason: "this member was removed from the cluster; to join as a new one, without the data that is here, " +
			"restart etcd by hand (service etcdd restart), or reset the node"}
	}
}

// A running member outlives keys that are away for a moment; only other settings restart it.
func decideRunning(o Observed) Action {
	if o.Config == "" && o.Settings != o.RunningSettings {
		return Action{Kind: Stop, Reason: "the settings changed"}
	}

	return Action{Kind: Keep, Reason: "running"}
}

func decideJoin(o Observed) Action {
	if len(o.Cluster) == 0 {
		return Action{Kind: Wait, Reason: joinWait(o)}
	}

	own, found := findOwn(o.Cluster, o.PeerURLs)

	switch {
	case !found:
		return Action{Kind: AddLearner, Reason: "a running cluster does not know this node yet"}
	case !own.Learner:
		// Its log may only be out of sight (a volume that is not mounted yet), so it is not thrown out unasked.
		return Action{Kind: Wait, Member: own.ID, Reason: fmt.Sprintf(
			"member %016x of the cluster has this node's address, but its data is not here; "+
				"if it is lost, remove the member (etcd remove-member %016x) to let this node join again", own.ID, own.ID)}
	case o.Intent == IntentJoin && o.IntentID == own.ID && !own.Started():
		return Action{Kind: Join, Member: own.ID, Reason: "this node is on the member list"}
	default:
		return Action{Kind: ReplaceLearner, Member: own.ID, Reason: "a learner with this node's address has lost its data"}
	}
}

func joinWait(o Observed) string {
	const bootstrap = "waiting for a bootstrap call"

	switch {
	case o.Peers == 0:
		return bootstrap + ", or for another control plane node to be discovered"
	case o.ClusterError != "":
		return bootstrap + ", or for another control plane node to answer: " + o.ClusterError
	default:
		return bootstrap + ", or for another control plane node to answer"
	}
}

func findOwn(members []Member, urls []string) (Member, bool) {
	at := slices.IndexFunc(members, func(m Member) bool { return m.Has(urls) })
	if at < 0 {
		return Member{}, false
	}

	return members[at], true
}
