// Strict validation of dashboards by Grafana's foundation SDK: fields that the schema does not know, and fields that it
// requires and a file leaves to Grafana's defaults. It does not know wrong units or values of an enum.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	failed := false
	for _, file := range os.Args[1:] {
		if err := validate(file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			failed = true
		}
	}
	if failed || len(os.Args) == 1 {
		os.Exit(1)
	}
}

func validate(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var strict dashboard.Dashboard
	if err := strict.UnmarshalJSONStrict(raw); err != nil && err.Error() != "" {
		return err
	}
	var parsed dashboard.Dashboard
	if err := json.Unmarshal(raw, &parsed); err != nil {
		return err
	}
	return parsed.Validate()
}
