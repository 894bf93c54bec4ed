{{/* KELVIN_ variables of the server, without the prefix. */}}
{{- define "kelvin.server.settings" -}}
LISTEN: "[::]:{{ .Values.server.port }}"
HEALTH_LISTEN: "[::]:8081"
MAX_CONNECTIONS: {{ int64 .Values.server.maxConnections | quote }}
MAX_UNAUTHENTICATED_CONNECTIONS: {{ int64 .Values.server.maxUnauthenticatedConnections | quote }}
CONNECTION_MEMORY_LIMIT: {{ .Values.server.connectionMemoryLimit | quote }}
REFLECTION: {{ .Values.server.reflection }}
TOKEN_FILE: /etc/kelvin/tokens/tokens
DRAIN_DELAY: {{ include "kelvin.value" (list . "server.drain.delaySeconds") }}s
DRAIN_TIMEOUT: {{ int .Values.server.drain.timeoutSeconds }}s
STORE: {{ .Values.store.kind }}
MAX_SENSORS: {{ int64 .Values.store.maxSensors | quote }}
MAX_READINGS: {{ int64 .Values.store.maxReadings | quote }}
MAX_READINGS_PER_SENSOR: {{ int64 .Values.store.maxReadingsPerSensor | quote }}
{{- if eq .Values.store.kind "memory" }}
STORE_MEMORY_LIMIT: {{ .Values.store.memoryLimit }}
{{- end }}
ALERT_LOW: {{ .Values.alerting.low | quote }}
ALERT_HIGH: {{ .Values.alerting.high | quote }}
{{- if .Values.podMonitor.enabled }}
PROMETHEUS: true
{{- end }}
{{ include "kelvin.server.settings.tls" . }}
{{- if eq .Values.store.kind "valkey" }}
{{ include "kelvin.server.settings.valkey" . }}
{{- end }}
{{- end -}}

{{- define "kelvin.server.settings.tls" -}}
{{- with .Values.tls -}}
{{- if .enabled -}}
TLS_CERT: /etc/kelvin/tls/tls.crt
TLS_KEY: /etc/kelvin/tls/tls.key
MTLS: {{ .mtls }}
{{- if ne .mtls "none" }}
TLS_CLIENT_CA: {{ include "kelvin.ca" $ }}
{{- end }}
{{- if include "kelvin.external" $ }}
TLS_EXTERNAL_CERT: /etc/kelvin/tls-external/tls.crt
TLS_EXTERNAL_KEY: /etc/kelvin/tls-external/tls.key
{{- end }}
{{- else -}}
PLAINTEXT: true
{{- end }}
{{- end }}
{{- end -}}

{{- define "kelvin.server.settings.valkey" -}}
{{- with .Values.store.valkey -}}
VALKEY_ADDRESS: {{ .address | quote }}
VALKEY_CLUSTER: {{ .cluster }}
VALKEY_ACKNOWLEDGE: {{ .acknowledge }}
{{- with .username }}
VALKEY_USERNAME: {{ . | quote }}
{{- end }}
{{- if .existingSecret }}
VALKEY_PASSWORD_FILE: {{ printf "/etc/kelvin/valkey/%s" .passwordKey | quote }}
{{- end }}
{{- if .tls.enabled }}
VALKEY_TLS_CA: {{ empty .tls.existingSecret | ternary (include "kelvin.ca" $) (printf "/etc/kelvin/valkey-tls/%s" .tls.key) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Secrets of the server, by the folder in /etc/kelvin. */}}
{{- define "kelvin.server.secrets" -}}
{{ include "kelvin.secrets" . }}
{{- if .Values.tls.enabled }}
tls: {secretName: {{ include "kelvin.serverSecret" . | quote }}}
{{- end }}
{{- if include "kelvin.external" . }}
tls-external: {secretName: {{ default (printf "%s-server-external-tls" (include "kelvin.fullname" .)) .Values.tls.external.existingSecret | quote }}}
{{- end }}
{{- with .Values.store.valkey }}
{{- if eq $.Values.store.kind "valkey" }}
{{- with .existingSecret }}
valkey: {secretName: {{ . | quote }}}
{{- end }}
{{- if and .tls.enabled .tls.existingSecret }}
valkey-tls: {secretName: {{ .tls.existingSecret | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
