{{/* Prefix of the names of all objects. */}}
{{- define "kelvin.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- end -}}

{{/* Domain of the release's Services. */}}
{{- define "kelvin.domain" -}}
{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}

{{/* Secret with the tokens. */}}
{{- define "kelvin.tokens" -}}
{{ default (printf "%s-tokens" (include "kelvin.fullname" .)) .Values.auth.existingSecret }}
{{- end -}}

{{/* ServiceAccount of the pods. */}}
{{- define "kelvin.serviceAccount" -}}
{{ default (ternary (include "kelvin.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end -}}
