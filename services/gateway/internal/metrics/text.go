package metrics

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"
)

// ContentType is that of Prometheus' text format.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Text writes families in Prometheus' text format 0.0.4, samples by their labels. A family without samples is left out.
func Text(families []*kitv1.Family) []byte {
	var out bytes.Buffer

	for _, family := range families {
		if len(family.GetSamples()) == 0 {
			continue
		}

		kind := "gauge"
		if family.GetCounter() {
			kind = "counter"
		}

		fmt.Fprintf(&out, "# HELP %s %s\n# TYPE %s %s\n", family.GetName(), escapeHelp.Replace(family.GetHelp()), family.GetName(), kind)

		lines := make([]string, 0, len(family.GetSamples()))
		for _, sample := range family.GetSamples() {
			lines = append(lines, family.GetName()+labels(sample.GetLabels())+" "+strconv.FormatFloat(sample.GetValue(), 'g', -1, 64)+"\n")
		}

		slices.Sort(lines)
		out.WriteString(strings.Join(lines, ""))
	}

	return out.Bytes()
}

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	escapeValue = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func labels(pairs []string) string {
	parts := make([]string, 0, len(pairs)/2)
	for pair := range slices.Chunk(pairs, 2) {
		if len(pair) == 2 {
			parts = append(parts, pair[0]+`="`+escapeValue.Replace(strings.ToValidUTF8(pair[1], "�"))+`"`)
		}
	}

	if len(parts) == 0 {
		return ""
	}

	return "{" + strings.Join(parts, ",") + "}"
}
