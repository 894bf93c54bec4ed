{{/* Image of a program: (dict "root" $ "name" "server"). */}}
{{- define "kelvin.image" -}}
{{- $image := .root.Values.image -}}
{{- $own := (index .root.Values .name).image -}}
{{- with coalesce (default dict .root.Values.global).imageRegistry $own.registry $image.registry -}}
{{- trimSuffix "/" . }}/
{{- end -}}
{{- $own.repository }}:{{ coalesce $own.tag $image.tag .root.Chart.AppVersion -}}
{{- with $own.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* Secrets to pull images with, each given as a name or as {name: …}. */}}
{{- define "kelvin.pullSecrets" -}}
{{- $names := list -}}
{{- range concat (default list .Values.image.pullSecrets) (default list (default dict .Values.global).imagePullSecrets) -}}
{{- $names = append $names (kindIs "string" . | ternary . (get (kindIs "map" . | ternary . dict) "name")) -}}
{{- end -}}
{{- range uniq $names }}
- name: {{ . | quote }}
{{- end -}}
{{- end -}}
