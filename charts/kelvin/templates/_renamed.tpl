{{/*
Values that were renamed: old name, new name and the new one's default. The old name keeps working, with a warning in NOTES.
*/}}
{{- define "kelvin.renamed" -}}
- {old: server.drain.waitSeconds, new: server.drain.delaySeconds, default: 5}
{{- end -}}

{{/* A value by its new name, or by its old one if that is set: (list $ "server.drain.delaySeconds"). */}}
{{- define "kelvin.value" -}}
{{- $values := (index . 0).Values -}}
{{- $name := index . 1 -}}
{{- $value := include "kelvin.at" (list $values $name) -}}
{{- range include "kelvin.renamed" . | fromYamlArray -}}
{{- $old := include "kelvin.at" (list $values .old) -}}
{{- if and (eq .new $name) $old -}}{{- $value = $old -}}{{- end -}}
{{- end -}}
{{- $value -}}
{{- end -}}

{{/* The value at a path, as text; nothing if it is not set: (list values "server.drain.waitSeconds"). */}}
{{- define "kelvin.at" -}}
{{- $value := index . 0 -}}
{{- range splitList "." (index . 1) -}}
{{- $value = get (kindIs "map" $value | ternary $value dict) . -}}
{{- end -}}
{{- if not (kindIs "invalid" $value) }}{{ toString $value }}{{ end -}}
{{- end -}}
