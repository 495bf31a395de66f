package plan_test

import (
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/plan"
)

const url = "https://10.5.0.3:2380"

func ready(change func(*plan.Observed)) plan.Observed {
	o := plan.Observed{ControlPlane: true, PeerURLs: []string{url}, Settings: "a"}
	change(&o)

	return o
}

func cluster(own ...plan.Member) []plan.Member {
	return append([]plan.Member{{ID: 1, Name: "cp-1", PeerURLs: []string{"https://10.5.0.2:2380"}}}, own...)
}

func TestDecide(t *testing.T) {
	learner := plan.Member{ID: 7, PeerURLs: []string{url}, Learner: true}
	started := plan.Member{ID: 7, Name: "cp-2", PeerURLs: []string{url}, Learner: true}
	voter := plan.Member{ID: 7, Name: "cp-2", PeerURLs: []string{url}}

	for _, test := range []struct {
		name   string
		given  plan.Observed
		action plan.Kind
		reason string
	}{
		{"worker", plan.Observed{}, plan.Wait, "control plane nodes only"},
		{"worker that was a control plane", plan.Observed{Running: true}, plan.Stop, "not a control plane node"},
		{"no keys", ready(func(o *plan.Observed) { o.Config = "waiting for keys" }), plan.Wait, "waiting for keys"},
		{"keys away while running", ready(func(o *plan.Observed) {
			o.Config, o.Running, o.RunningSettings = "waiting for keys", true, "b"
		}), plan.Keep, ""},
		{"alone", ready(func(*plan.Observed) {}), plan.Wait, "bootstrap call, or for another control plane node to be disc"},
		{"nobody answers", ready(func(o *plan.Observed) { o.Peers, o.ClusterError = 1, "refused" }), plan.Wait, "answer: refused"},
		{"bootstrap", ready(func(o *plan.Observed) { o.Intent = plan.IntentBootstrap }), plan.StartNew, ""},
		{"bootstrap wins over a cluster seen", ready(func(o *plan.Observed) {
			o.Intent, o.Cluster = plan.IntentBootstrap, cluster()
		}), plan.StartNew, ""},
		{"bootstrap cut off before the log", ready(func(o *plan.Observed) {
			o.Intent, o.Data = plan.IntentBootstrap, plan.DataUnusable
		}), plan.Wipe, "cut off"},
		{"bootstrap cut off after the log", ready(func(o *plan.Observed) {
			o.Intent, o.Data = plan.IntentBootstrap, plan.DataPresent
		}), plan.StartExisting, ""},
		{"recovery", ready(func(o *plan.Observed) { o.Intent = plan.IntentRecover }), plan.Restore, "snapshot"},
		{"recovery cut off before the log", ready(func(o *plan.Observed) {
			o.Intent, o.Data = plan.IntentRecover, plan.DataUnusable
		}), plan.Wipe, "cut off"},
		{"recovered", ready(func(o *plan.Observed) { o.Intent, o.Data = plan.IntentRecover, plan.DataPresent }), plan.StartExisting, ""},
		{"damaged", ready(func(o *plan.Observed) { o.Data, o.Damaged = plan.DataPresent, "damaged" }), plan.Broken, "damaged"},
		{"damaged, then left", ready(func(o *plan.Observed) {
			o.Data, o.Damaged, o.Out = plan.DataPresent, "damaged", plan.OutLeft
		}), plan.Wipe, "left"},
		{"restart", ready(func(o *plan.Observed) { o.Data = plan.DataPresent }), plan.StartExisting, ""},
		{"restart does not ask others", ready(func(o *plan.Observed) {
			o.Data, o.Cluster = plan.DataPresent, cluster()
		}), plan.StartExisting, ""},
		{"removed", ready(func(o *plan.Observed) { o.Data, o.Out = plan.DataPresent, plan.OutRemoved }), plan.StayOut, "service etcdd restart"},
		{"removed, started by hand", ready(func(o *plan.Observed) {
			o.Data, o.Out, o.ByHand = plan.DataPresent, plan.OutRemoved, true
		}), plan.ComeBack, ""},
		{"left, data not wiped yet", ready(func(o *plan.Observed) { o.Data, o.Out = plan.DataPresent, plan.OutLeft }), plan.Wipe, "left"},
		{"left", ready(func(o *plan.Observed) { o.Out, o.Cluster = plan.OutLeft, cluster() }), plan.StayOut, "service etcdd restart"},
		{"left, its disk not there yet", ready(func(o *plan.Observed) { o.Out, o.Config = plan.OutLeft, "waiting for EPHEMERAL" }), plan.Wait, "EPHEMERAL"},
		{"left, started by hand", ready(func(o *plan.Observed) { o.Out, o.ByHand = plan.OutLeft, true }), plan.ComeBack, ""},
		{"a member, started by hand", ready(func(o *plan.Observed) { o.Data, o.ByHand = plan.DataPresent, true }), plan.StartExisting, ""},
		{"unknown to the cluster", ready(func(o *plan.Observed) { o.Cluster = cluster() }), plan.AddLearner, ""},
		{"added", ready(func(o *plan.Observed) {
			o.Cluster, o.Intent, o.IntentID = cluster(learner), plan.IntentJoin, 7
		}), plan.Join, ""},
		{"killed between the call and the note", ready(func(o *plan.Observed) { o.Cluster = cluster(learner) }), plan.ReplaceLearner, ""},
		{"added, then replaced by someone", ready(func(o *plan.Observed) {
			o.Cluster, o.Intent, o.IntentID = cluster(learner), plan.IntentJoin, 6
		}), plan.ReplaceLearner, ""},
		{"learner had started, data wiped", ready(func(o *plan.Observed) {
			o.Cluster, o.Intent, o.IntentID = cluster(started), plan.IntentJoin, 7
		}), plan.ReplaceLearner, ""},
		{"voter whose data is gone", ready(func(o *plan.Observed) { o.Cluster = cluster(voter) }), plan.Wait,
			"etcd remove-member 0000000000000007"},
		{"join cut off before the log", ready(func(o *plan.Observed) {
			o.Cluster, o.Intent, o.IntentID, o.Data = cluster(learner), plan.IntentJoin, 7, plan.DataUnusable
		}), plan.Wipe, ""},
		{"join cut off after the log", ready(func(o *plan.Observed) {
			o.Intent, o.IntentID, o.Data = plan.IntentJoin, 7, plan.DataPresent
		}), plan.StartExisting, ""},
		{"running", ready(func(o *plan.Observed) { o.Running, o.RunningSettings = true, "a" }), plan.Keep, ""},
		{"settings changed", ready(func(o *plan.Observed) { o.Running, o.RunningSettings = true, "b" }), plan.Stop, "settings"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := plan.Decide(test.given)
			if got.Kind != test.action || !strings.Contains(got.Reason, test.reason) {
				t.Errorf("got %q, want %s with %q", got, test.action, test.reason)
			}
		})
	}
}
