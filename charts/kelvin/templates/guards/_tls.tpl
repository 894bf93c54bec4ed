{{- define "kelvin.guard.tls" -}}
{{- $tls := .Values.tls -}}
{{- if not $tls.enabled -}}
{{- if ne $tls.mtls "none" -}}
{{- fail (printf "tls.mtls is %s, but tls.enabled is false: set tls.mtls to none" $tls.mtls) -}}
{{- end -}}
{{- if or $tls.existingSecret $tls.external.existingSecret $tls.external.dnsNames $tls.external.ipAddresses -}}
{{- fail "tls has certificates for the servers, but tls.enabled is false: set tls.enabled to true, or remove tls.existingSecret and tls.external" -}}
{{- end -}}
{{- else -}}
{{- include "kelvin.guard.tls.clients" . -}}
{{- include "kelvin.guard.tls.names" . -}}
{{- range $name, $block := dict "tls" $tls "tls.external" $tls.external -}}
{{- include "kelvin.guard.tls.issuer" (list $name $block.issuerRef) -}}
{{- if and $block.duration $block.renewBefore -}}
{{- if ge (include "kelvin.milliseconds" $block.renewBefore | float64) (include "kelvin.milliseconds" $block.duration | float64) -}}
{{- fail (printf "%s.renewBefore (%s) is not shorter than %s.duration (%s)" $name $block.renewBefore $name $block.duration) -}}
{{- end -}}
{{- end -}}
{{- if and $.Values.alerts.enabled $block.renewBefore (ge (mulf $.Values.alerts.certificateDays 86400000) (include "kelvin.milliseconds" $block.renewBefore | float64)) -}}
{{- fail (printf "alerts.certificateDays (%v) is not less than %s.renewBefore (%s): the alert would fire before every renewal" $.Values.alerts.certificateDays $name $block.renewBefore) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kelvin.guard.tls.clients" -}}
{{- $own := .Values.client.tls -}}
{{- if and (eq .Values.tls.mtls "required") (not $own.clientCertificate) -}}
{{- fail "tls.mtls is required, but client.tls.clientCertificate is false: set tls.mtls to optional, or client.tls.clientCertificate to true" -}}
{{- end -}}
{{- if and $own.existingSecret (not (include "kelvin.clientCertificates" .)) -}}
{{- fail "client.tls.existingSecret is set, but the clients present no certificates: set tls.mtls to optional and client.tls.clientCertificate to true, or leave the Secret out" -}}
{{- end -}}
{{- if and .Values.tls.existingSecret (include "kelvin.clientCertificates" .) (include "kelvin.components.calling" .) (not $own.existingSecret) -}}
{{- fail "tls.existingSecret is set, so no certificates are issued for the clients: set client.tls.existingSecret, or client.tls.clientCertificate to false for clients that use the token alone" -}}
{{- end -}}
{{- end -}}

{{- define "kelvin.guard.tls.names" -}}
{{- $tls := .Values.tls -}}
{{- range $name, $block := dict "tls" $tls "tls.external" $tls.external -}}
{{- range $block.dnsNames -}}
{{- if regexMatch "^[0-9.]+$|:" . -}}
{{- fail (printf "%s.dnsNames has the IP address %s: put it into %s.ipAddresses" $name . $name) -}}
{{- end -}}
{{- end -}}
{{- if and $block.existingSecret (or $block.issuerRef $block.dnsNames $block.ipAddresses) -}}
{{- fail (printf "%s.existingSecret is set, so no certificate is issued: remove it, or %s.issuerRef, %s.dnsNames and %s.ipAddresses" $name $name $name $name) -}}
{{- end -}}
{{- end -}}
{{- with $tls.external -}}
{{- if and .issuerRef (not (or .dnsNames .ipAddresses)) -}}
{{- fail "tls.external.issuerRef is set, but the certificate has no name: set tls.external.dnsNames" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kelvin.guard.tls.issuer" -}}
{{- $name := index . 0 -}}
{{- with index . 1 -}}
{{- if not .name -}}
{{- fail (printf "%s.issuerRef has no name: set %s.issuerRef.name, or leave %s.issuerRef empty" $name $name $name) -}}
{{- end -}}
{{- if and (has .group (list nil "" "cert-manager.io")) (not (has .kind (list nil "" "Issuer" "ClusterIssuer"))) -}}
{{- fail (printf "%s.issuerRef.kind is %s: set it to Issuer or ClusterIssuer, or set %s.issuerRef.group" $name .kind $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Rendering without a cluster knows only the APIs of Kubernetes itself. Every cluster has apiregistration beside them. */}}
{{- define "kelvin.guard.certManager" -}}
{{- $apis := .Capabilities.APIVersions -}}
{{- if and (include "kelvin.issued" .) ($apis.Has "apiregistration.k8s.io/v1") (not ($apis.Has "cert-manager.io/v1")) -}}
{{- fail "cert-manager is not in this cluster, and no certificates are given: install cert-manager (docs/kubernetes.md), or set tls.existingSecret and client.tls.existingSecret to Secrets with certificates, or set tls.enabled to false and tls.mtls to none for plain text" -}}
{{- end -}}
{{- end -}}
