{{/* Values of a kind of client: (list $ block). Set by hand, because merge treats false and 0 as not set. */}}
{{- define "kelvin.client" -}}
{{- $client := deepCopy (index . 0).Values.client }}
{{- range $key, $value := index . 1 }}
{{- if eq $key "settings" }}
{{- $_ := set $client "settings" (mergeOverwrite dict (default dict $client.settings) (default dict $value)) }}
{{- else }}
{{- $_ := set $client $key $value }}
{{- end }}
{{- end }}
{{- toYaml $client }}
{{- end -}}

{{/* The kinds of client that run, with commas between. */}}
{{- define "kelvin.clients" -}}
{{- $kinds := list -}}
{{- range $kind, $own := .Values.clients -}}
{{- if (include "kelvin.client" (list $ $own) | fromYaml).enabled }}{{ $kinds = append $kinds $kind }}{{ end -}}
{{- end -}}
{{- join "," $kinds -}}
{{- end -}}
