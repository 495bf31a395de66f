package client

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/access"
)

// dialTimeout bounds one attempt to connect.
const dialTimeout = 5 * time.Second

type methodName struct {
	Service string `json:"service"`
	Method  string `json:"method"`
}

// serviceConfig is gRPC's retry configuration: calls that the descriptors call
// idempotent are sent again while the gateway is away, five times in about two
// seconds.
func serviceConfig() string {
	var names []methodName
	for full, m := range access.Methods() {
		service, method, ok := strings.Cut(strings.TrimPrefix(full, "/"), "/")
		if ok && m.Idempotent {
			names = append(names, methodName{service, method})
		}
	}
	slices.SortFunc(names, func(a, b methodName) int { return strings.Compare(a.Service+a.Method, b.Service+b.Method) })
	data, err := json.Marshal(map[string]any{"methodConfig": []any{map[string]any{
		"name": names,
		"retryPolicy": map[string]any{
			"maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "1s", "backoffMultiplier": 2,
			"retryableStatusCodes": []string{"UNAVAILABLE"},
		},
	}}})
	if err != nil {
		return "{}"
	}

	return string(data)
}
