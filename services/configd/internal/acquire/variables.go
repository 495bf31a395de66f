package acquire

import (
	"fmt"
	"net/url"
	"regexp"
)

var variable = regexp.MustCompile(`\$\{([a-zA-Z]*)\}`)

// Expand puts the values of ${uuid}, ${serial}, ${mac} and ${hostname} into a URL. Other variables are errors: a server
// would get them as they are.
func Expand(template string, value func(name string) (string, error)) (string, error) {
	var failed error

	out := variable.ReplaceAllStringFunc(template, func(match string) string {
		name := variable.FindStringSubmatch(match)[1]

		switch name {
		case "uuid", "serial", "mac", "hostname":
		default:
			failed = fmt.Errorf("%s in %s is unknown: there are ${uuid}, ${serial}, ${mac} and ${hostname}", match, template)

			return match
		}

		text, err := value(name)
		if err != nil {
			failed = fmt.Errorf("find %s: %w", match, err)
		}

		return url.QueryEscape(text)
	})

	return out, failed
}
