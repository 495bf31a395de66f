package machine

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
)

// door is where the gateway answers.
const door = "127.0.0.1:50000"

// show tells people at the console what stage the node is in, where it can be reached, and by what certificate.
func (a *attached) show(ctx context.Context, s state.State) error {
	events := make(chan state.Event)

	for _, pointer := range []resource.Metadata{
		resource.NewMetadata(runtime.NamespaceName, runtime.MachineStatusType, runtime.MachineStatusID, resource.VersionUndefined),
		resource.NewMetadata(network.NamespaceName, network.NodeAddressType, network.NodeAddressRoutedID, resource.VersionUndefined),
	} {
		if err := s.Watch(ctx, pointer, events); err != nil {
			return fmt.Errorf("watch %s: %w", pointer.Type(), err)
		}
	}

	stage, addresses := "", ""

	for {
		var event state.Event

		select {
		case event = <-events:
		case <-ctx.Done():
			return nil
		}

		if event.Type != state.Created && event.Type != state.Updated {
			continue
		}

		switch r := event.Resource.(type) {
		case *network.NodeAddress:
			if text := joined(r.TypedSpec()); text != addresses && text != "" {
				addresses = text
				a.Console.Say("addresses: %s", addresses)
			}
		case *runtime.MachineStatus:
			if text := r.TypedSpec().Stage.String(); text != stage {
				stage = text
				a.Console.Say("stage: %s (%.1f s after init)", stage, time.Since(a.record.Started).Seconds())
			}

			if stage == enums.MachineStageMaintenance.String() {
				a.invite(ctx)
			}
		}
	}
}

func joined(spec *network.NodeAddressSpec) string {
	var out []string
	for _, prefix := range spec.Addresses {
		out = append(out, prefix.Addr().String())
	}

	return strings.Join(out, " ")
}

// invite says once how to configure the node. The certificate is asked for at the door itself: what is shown is what a
// client will see.
func (a *attached) invite(ctx context.Context) {
	if a.invited {
		return
	}

	a.invited = true

	go func() {
		fingerprint, err := awaitCertificate(ctx)
		if err != nil {
			return // init is going down
		}

		a.Console.Say("maintenance: waiting for a configuration (%.1f s after init): dactylctl apply-config --insecure -n ADDRESS -f FILE",
			time.Since(a.record.Started).Seconds())
		a.Console.Say("certificate fingerprint (SHA-256): %s", fingerprint)
		a.Console.Say("processor time so far: %s", a.costs())
	}()
}

// costs are the processor times of the daemons so far: what a slow boot is made of.
func (a *attached) costs() string {
	var out []string

	for _, s := range a.node.Services() {
		if usage, err := a.runner.Usage(s.Name, s.PID); err == nil {
			out = append(out, fmt.Sprintf("%s %.2f s", s.Name, usage.CPU.Seconds()))
		}
	}

	return strings.Join(out, ", ")
}

func awaitCertificate(ctx context.Context) (string, error) {
	// Whoever else listens there would be as untrue to clients: there is nothing to verify against yet.
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}} //nolint:gosec // see above

	for {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		conn, err := dialer.DialContext(attempt, "tcp", door)

		cancel()

		if err == nil {
			certificates := conn.(*tls.Conn).ConnectionState().PeerCertificates
			err = conn.Close()

			if len(certificates) > 0 {
				return fingerprint(certificates[0].Raw), nil
			}
		}

		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return "", errors.Join(ctx.Err(), err)
		}
	}
}

// fingerprint is written as `openssl x509 -fingerprint -sha256` does.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)

	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}
