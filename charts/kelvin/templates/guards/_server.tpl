{{- define "kelvin.guard.server" -}}
{{- with .Values.server.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- fail (printf "server.autoscaling.minReplicas (%d) is above server.autoscaling.maxReplicas (%d)" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- if eq (int .Values.server.port) 8081 -}}
{{- fail "server.port is 8081, the port of the health checks: use another one" -}}
{{- end -}}
{{- if ge (float64 .Values.alerting.low) (float64 .Values.alerting.high) -}}
{{- fail (printf "alerting.low (%v) is not below alerting.high (%v)" .Values.alerting.low .Values.alerting.high) -}}
{{- end -}}
{{- end -}}

{{/* The two limits that bound most of the server's memory. Without a memory limit of the container there is nothing to fit into. */}}
{{- define "kelvin.guard.memory" -}}
{{- $connections := .Values.server.connectionMemoryLimit -}}
{{- $sum := include "kelvin.bytes" (trimSuffix "B" $connections) | int64 -}}
{{- $what := printf "server.connectionMemoryLimit (%s) is" $connections -}}
{{- if eq .Values.store.kind "memory" -}}
{{- $sum = add $sum (include "kelvin.bytes" (trimSuffix "B" .Values.store.memoryLimit)) -}}
{{- $what = printf "store.memoryLimit (%s) and server.connectionMemoryLimit (%s) are together" .Values.store.memoryLimit $connections -}}
{{- end -}}
{{- with dig "limits" "memory" "" (default dict .Values.server.resources) -}}
{{- if gt $sum (include "kelvin.bytes" . | int64) -}}
{{- fail (printf "%s more than server.resources.limits.memory (%v): lower one or raise the other" $what .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kelvin.guard.store" -}}
{{- include (printf "kelvin.guard.store.%s" .Values.store.kind) (list .Values .Values.store.valkey) -}}
{{- end -}}

{{- define "kelvin.guard.store.memory" -}}
{{- $values := index . 0 -}}
{{- if gt (int $values.server.replicas) 1 -}}
{{- fail (printf "server.replicas is %d, but with store.kind memory each server would hold only a part of the readings: set store.kind to valkey, or server.replicas to 1" (int $values.server.replicas)) -}}
{{- end -}}
{{- if $values.server.autoscaling.enabled -}}
{{- fail "server.autoscaling needs a store that the servers share: set store.kind to valkey, or server.autoscaling.enabled to false" -}}
{{- end -}}
{{- if (index . 1).address -}}
{{- fail "store.valkey.address is set, but store.kind is memory: set store.kind to valkey, or leave the address out" -}}
{{- end -}}
{{- end -}}

{{- define "kelvin.guard.store.valkey" -}}
{{- $values := index . 0 -}}
{{- with index . 1 -}}
{{- if not .address -}}
{{- fail "store.kind is valkey, but its address is missing: set store.valkey.address to host:port" -}}
{{- end -}}
{{- if and (contains "," .address) (not .cluster) -}}
{{- fail "store.valkey.address has several addresses, which only a cluster has: set store.valkey.cluster to true, or set a single address that always points to the primary, even after a failover" -}}
{{- end -}}
{{- if and .tls.enabled (not .tls.existingSecret) (not $values.tls.enabled) -}}
{{- fail "store.valkey.tls needs the CA of the store's certificate: set store.valkey.tls.existingSecret, or store.valkey.tls.enabled to false" -}}
{{- end -}}
{{- end -}}
{{- if and $values.networkPolicy.enabled (not $values.networkPolicy.valkey) -}}
{{- fail "networkPolicy.valkey is empty, so the NetworkPolicy would cut the servers off from the store: set it to the store's pods or addresses" -}}
{{- end -}}
{{- end -}}

{{- define "kelvin.guard.clients" -}}
{{- range $kind, $own := .Values.clients -}}
{{- with include "kelvin.client" (list $ $own) | fromYaml -}}
{{- if and .enabled (not (and .sensors .intervalMin .intervalMax)) -}}
{{- fail (printf "clients.%s needs sensors, intervalMin and intervalMax: remove them to use the defaults, or set the whole block to null to disable these clients" $kind) -}}
{{- end -}}
{{- if and .enabled (gt (include "kelvin.milliseconds" .intervalMin | int64) (include "kelvin.milliseconds" .intervalMax | int64)) -}}
{{- fail (printf "clients.%s.intervalMin (%s) is longer than its intervalMax (%s)" $kind .intervalMin .intervalMax) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
