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

{{/* Labels that select the pods of a component: (list $ "server"). */}}
{{- define "kelvin.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object of a component: (list $ "server"). */}}
{{- define "kelvin.labels" -}}
{{- $root := index . 0 -}}
{{ include "kelvin.selector" . }}
app.kubernetes.io/part-of: kelvin
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Domain of the release's Services. */}}
{{- define "kelvin.domain" -}}
{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}

{{/* Secret with the tokens. */}}
{{- define "kelvin.tokens" -}}
{{ default (printf "%s-tokens" (include "kelvin.fullname" .)) .Values.auth.existingSecret }}
{{- end -}}
