{{/* Settings of everything that calls the servers. */}}
{{- define "kelvin.caller" -}}
SERVER: {{ ternary "https" "http" .Values.tls.enabled }}://{{ include "kelvin.fullname" . }}-server-headless.{{ include "kelvin.domain" . }}:{{ .Values.server.port }}
TOKEN_FILE: /etc/kelvin/tokens/tokens
{{- if .Values.tls.enabled }}
TLS_CA: {{ include "kelvin.ca" . }}
{{- if include "kelvin.clientCertificates" . }}
TLS_CERT: /etc/kelvin/tls/tls.crt
TLS_KEY: /etc/kelvin/tls/tls.key
{{- end }}
{{- end }}
{{- end -}}

{{/* Secrets of a caller: (list $ name). Without a certificate of its own it gets the CA beside the servers', and not their key. */}}
{{- define "kelvin.caller.secrets" -}}
{{- $root := index . 0 -}}
{{ include "kelvin.secrets" $root }}
{{- if include "kelvin.clientCertificates" $root }}
tls: {secretName: {{ default (printf "%s-tls" (index . 1)) $root.Values.client.tls.existingSecret | quote }}}
{{- else if and $root.Values.tls.enabled (not $root.Values.tls.caSecret) }}
tls: {secretName: {{ include "kelvin.serverSecret" $root | quote }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end -}}
