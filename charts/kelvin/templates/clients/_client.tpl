{{/* Values of a kind of client: (list $ block). Set by hand, because merge takes a false or a 0 for nothing. */}}
{{- define "kelvin.client" -}}
{{- $client := deepCopy (index . 0).Values.client }}
{{- range $key, $value := index . 1 }}
{{- if eq $key "settings" }}
{{- range $name, $setting := $value }}
{{- $_ := set $client.settings $name $setting }}
{{- end }}
{{- else }}
{{- $_ := set $client $key $value }}
{{- end }}
{{- end }}
{{- toYaml $client }}
{{- end -}}

{{/* Settings of whoever calls the servers. */}}
{{- define "kelvin.caller" -}}
SERVER: {{ ternary "https" "http" .Values.tls.enabled }}://{{ include "kelvin.fullname" . }}-server-headless.{{ include "kelvin.domain" . }}:{{ .Values.server.port }}
TOKEN_FILE: /etc/kelvin/tokens/tokens
{{- if .Values.tls.enabled }}
TLS_CA: {{ include "kelvin.ca" . }}
{{- if ne .Values.tls.mtls "none" }}
TLS_CERT: /etc/kelvin/tls/tls.crt
TLS_KEY: /etc/kelvin/tls/tls.key
{{- end }}
{{- end }}
{{- end -}}
