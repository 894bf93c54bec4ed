{{/* Whether the clients present certificates. */}}
{{- define "kelvin.clientCertificates" -}}
{{- if and .Values.tls.enabled (ne .Values.tls.mtls "none") .Values.client.tls.clientCertificate }}true{{ end -}}
{{- end -}}

{{/* Whether the servers have a second certificate, and whether cert-manager issues it. */}}
{{- define "kelvin.external" -}}
{{- $external := .Values.tls.external -}}
{{- if .Values.tls.enabled -}}
{{- if $external.existingSecret }}existing{{ else if or $external.dnsNames $external.ipAddresses }}issued{{ end -}}
{{- end -}}
{{- end -}}

{{/* Whether cert-manager issues any certificate. */}}
{{- define "kelvin.issued" -}}
{{- if or (and .Values.tls.enabled (not .Values.tls.existingSecret)) (eq (include "kelvin.external" .) "issued") }}true{{ end -}}
{{- end -}}

{{/* Whether the release has a CA of its own. */}}
{{- define "kelvin.ownCA" -}}
{{- $external := and (eq (include "kelvin.external" .) "issued") (not .Values.tls.external.issuerRef) -}}
{{- if and .Values.tls.enabled (not .Values.tls.issuerRef) (or (not .Values.tls.existingSecret) $external) }}true{{ end -}}
{{- end -}}

{{/* Secret with the servers' certificate. */}}
{{- define "kelvin.serverSecret" -}}
{{ default (printf "%s-server-tls" (include "kelvin.fullname" .)) .Values.tls.existingSecret }}
{{- end -}}

{{/* File with the CA by which servers and clients verify each other. */}}
{{- define "kelvin.ca" -}}
/etc/kelvin/{{ ternary "ca" "tls" (not (empty .Values.tls.caSecret)) }}/ca.crt
{{- end -}}

{{/* Secrets that every pod mounts, by the folder in /etc/kelvin. */}}
{{- define "kelvin.secrets" -}}
tokens: {secretName: {{ include "kelvin.tokens" . | quote }}}
{{- if and .Values.tls.enabled .Values.tls.caSecret }}
ca: {secretName: {{ .Values.tls.caSecret | quote }}}
{{- end }}
{{- with .Values.telemetry }}
{{- if and .endpoint .caSecret }}
otlp: {secretName: {{ .caSecret | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{/* A certificate: root, name, usage, dnsNames, ipAddresses; duration, renewBefore and issuerRef if they are not those of tls. */}}
{{- define "kelvin.certificate" -}}
{{- $tls := .root.Values.tls }}
{{- $ownCA := dict "name" (printf "%s-ca" (include "kelvin.fullname" .root)) "kind" "Issuer" }}
---
apiVersion: cert-manager.io/v1
kind: Certificate
{{ include "kelvin.metadata" (merge (dict "component" "tls" "annotations" $tls.annotations) .) }}
spec:
  secretName: {{ printf "%s-tls" .name | quote }}
  {{- with .duration }}
  duration: {{ . }}
  {{- end }}
  {{- with .renewBefore }}
  renewBefore: {{ . }}
  {{- end }}
  privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Always}
  # The server accepts a client's certificate only with this usage, and cert-manager adds none by itself.
  usages: [digital signature, {{ .usage }}]
  {{- with .dnsNames }}
  dnsNames: {{ toJson . }}
  {{- end }}
  {{- with .ipAddresses }}
  ipAddresses: {{ toJson . }}
  {{- end }}
  issuerRef: {{ coalesce .issuerRef $tls.issuerRef $ownCA | toJson }}
{{ end -}}
