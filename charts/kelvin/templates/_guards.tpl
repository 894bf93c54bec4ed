{{/* What the schema cannot say: settings that do not go together stop here, in words that say what to set. */}}
{{- define "kelvin.guards" -}}
{{- $values := .Values }}
{{- $valkey := $values.store.valkey }}
{{- $name := include "kelvin.fullname" . }}

{{- if gt (len $name) 35 }}
{{- fail (printf "the name %q is longer than 35 characters, and the clients' names, made of it, would be too long: set fullnameOverride" $name) }}
{{- end }}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) }}
{{- fail (printf "%q cannot begin the name of a Service: set fullnameOverride to small letters, digits and hyphens, a letter first" $name) }}
{{- end }}

{{- if eq $values.store.kind "memory" }}
{{- if gt (int $values.server.replicas) 1 }}
{{- fail (printf "server.replicas is %d, but with store.kind memory each server would know a part of the readings only: set store.kind to valkey, or server.replicas to 1" (int $values.server.replicas)) }}
{{- end }}
{{- if $values.server.autoscaling.enabled }}
{{- fail "server.autoscaling needs a store that the servers share: set store.kind to valkey, or server.autoscaling.enabled to false" }}
{{- end }}
{{- if $valkey.address }}
{{- fail "store.valkey.address is set, but store.kind is memory: set store.kind to valkey, or leave the address away" }}
{{- end }}
{{- with $values.server.resources.limits }}
{{- if and .memory (gt (mul $values.store.maxReadings 24) (include "kelvin.bytes" .memory | int64)) }}
{{- fail (printf "store.maxReadings is %d, at about 24 bytes each more than server.resources.limits.memory (%s): lower the one or raise the other" (int64 $values.store.maxReadings) .memory) }}
{{- end }}
{{- end }}
{{- else }}
{{- if not $valkey.address }}
{{- fail "store.kind is valkey, but nothing says where it is: set store.valkey.address to host:port" }}
{{- end }}
{{- if and (contains "," $valkey.address) (not $valkey.cluster) }}
{{- fail "store.valkey.address has several addresses, which only a cluster has: set store.valkey.cluster to true, or name the one address behind which the failover happens" }}
{{- end }}
{{- if and $valkey.tls.enabled (not $valkey.tls.existingSecret) (not $values.tls.enabled) }}
{{- fail "store.valkey.tls needs the CA of the store's certificate: set store.valkey.tls.existingSecret, or store.valkey.tls.enabled to false" }}
{{- end }}
{{- end }}

{{- with $values.server.autoscaling }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail (printf "server.autoscaling.minReplicas (%d) is above server.autoscaling.maxReplicas (%d)" (int .minReplicas) (int .maxReplicas)) }}
{{- end }}
{{- end }}

{{- if eq (int $values.server.port) 8081 }}
{{- fail "server.port is 8081, where the health checks are answered: take another" }}
{{- end }}
{{- if ge (float64 $values.alerting.low) (float64 $values.alerting.high) }}
{{- fail (printf "alerting.low (%v) is not below alerting.high (%v)" $values.alerting.low $values.alerting.high) }}
{{- end }}
{{- range $kind, $own := $values.clients }}
{{- with include "kelvin.client" (list $ $own) | fromYaml }}
{{- if gt (include "kelvin.milliseconds" .intervalMin | int64) (include "kelvin.milliseconds" .intervalMax | int64) }}
{{- fail (printf "clients.%s.intervalMin (%s) is longer than its intervalMax (%s)" $kind .intervalMin .intervalMax) }}
{{- end }}
{{- end }}
{{- end }}

{{- if $values.tls.enabled }}
{{- $renewBefore := include "kelvin.milliseconds" $values.tls.renewBefore | float64 }}
{{- if ge $renewBefore (include "kelvin.milliseconds" $values.tls.duration | float64) }}
{{- fail (printf "tls.renewBefore (%s) is not shorter than tls.duration (%s)" $values.tls.renewBefore $values.tls.duration) }}
{{- end }}
{{- if and $values.alerts.enabled (ge (mulf $values.alerts.certificateDays 86400000) $renewBefore) }}
{{- fail (printf "alerts.certificateDays (%v) is not less than tls.renewBefore (%s): every certificate would be alerted of" $values.alerts.certificateDays $values.tls.renewBefore) }}
{{- end }}
{{- with $values.tls.issuerRef }}
{{- if not .name }}
{{- fail "tls.issuerRef has no name: set tls.issuerRef.name, or leave tls.issuerRef empty for a CA of the release's own" }}
{{- end }}
{{- if and (has .group (list nil "" "cert-manager.io")) (not (has .kind (list nil "" "Issuer" "ClusterIssuer"))) }}
{{- fail (printf "tls.issuerRef.kind is %s: set it to Issuer or ClusterIssuer, or tls.issuerRef.group to whom it belongs" .kind) }}
{{- end }}
{{- end }}
{{- if not (.Capabilities.APIVersions.Has "cert-manager.io/v1") }}
{{- fail "cert-manager is not in this cluster, and the certificates come from it: install it first (README.md, \"In a cluster\"), or set tls.enabled to false for plain text. To render without a cluster, add --api-versions cert-manager.io/v1" }}
{{- end }}
{{- else if ne $values.tls.mtls "none" }}
{{- fail (printf "tls.mtls is %s, but tls.enabled is false: set tls.mtls to none" $values.tls.mtls) }}
{{- end }}
{{- end -}}

{{/* A duration such as 250ms, 10s, 5m, 24h in milliseconds. */}}
{{- define "kelvin.milliseconds" -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- mul (trimSuffix $unit .) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) $unit) -}}
{{- end -}}

{{/* An amount of memory such as 256Mi in bytes. */}}
{{- define "kelvin.bytes" -}}
{{- $unit := regexFind "[A-Za-z]*$" (toString .) -}}
{{- $bytes := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf (trimSuffix $unit (toString .)) (get $bytes $unit) | int64 -}}
{{- end -}}
