# Kelvin in a kind cluster, watched from end to end: `make up`, `make smoke`, `make ui`, `make down`. Every step of `up` is a
# target of its own and can be repeated. CONTEXT names another cluster, KELVIN_ARGS images that it can pull. The recipes are for
# GNU make 3.81 and bash 3.2, as on macOS: what needs `set -e` or a pipe is a script in mk/.
CLUSTER ?= kelvin
CONTEXT ?= kind-$(CLUSTER)
# The node image; kind's own default if empty.
KIND_IMAGE ?=
# memory or valkey
STORE ?= memory
# A folder with the charts below, for a site without internet.
CHARTS ?=
# A folder with a `kelvin-e2e` that was built before, where the images are there too; empty: both are built when they are needed.
BUILT ?=
E2E = $(if $(BUILT),$(BUILT)/kelvin-e2e,cargo run --quiet --locked -p kelvin-e2e --)
# How long helm waits for the pods of one release.
TIMEOUT ?= 10m
# Steps of `make up` to leave out, for a cluster that already has the component: SKIP="cert-manager monitoring"
SKIP ?=
# Steps that may install over a component which `make up` did not install.
ADOPT ?=

# The third-party charts. `make bump CHART=jaeger` takes the newest version, with VERSION=4.11.1 that one.
CERT_MANAGER_CHART := cert-manager
CERT_MANAGER_VERSION := v1.21.1
CERT_MANAGER_REPO := https://charts.jetstack.io
PROMETHEUS_CHART := kube-prometheus-stack
PROMETHEUS_VERSION := 88.5.3
PROMETHEUS_REPO := https://prometheus-community.github.io/helm-charts
JAEGER_CHART := jaeger
JAEGER_VERSION := 4.11.1
JAEGER_REPO := https://jaegertracing.github.io/helm-charts
COLLECTOR_CHART := opentelemetry-collector
COLLECTOR_VERSION := 0.170.0
COLLECTOR_REPO := https://open-telemetry.github.io/opentelemetry-helm-charts
METRICS_SERVER_CHART := metrics-server
METRICS_SERVER_VERSION := 3.13.1
METRICS_SERVER_REPO := https://kubernetes-sigs.github.io/metrics-server
VALKEY_CHART := valkey
VALKEY_VERSION := 0.11.0
VALKEY_REPO := https://valkey.io/valkey-helm

HELM := helm --kube-context $(CONTEXT)
KUBECTL := kubectl --context $(CONTEXT)
ON_KIND := $(filter kind-$(CLUSTER),$(CONTEXT))
STEPS := $(if $(ON_KIND),cluster) namespaces cert-manager monitoring jaeger collector \
  $(if $(filter valkey,$(STORE)),metrics-server valkey) $(if $(ON_KIND),images load) kelvin
# What the images contain names them on the nodes: a new build rolls the pods, the same one does not.
LOADED_TAG = $(shell mk/content-tag $(IMAGES))

# Grafana without a login, for who reaches this machine's loopback anyway.
PROMETHEUS_ON_KIND := --set-json 'grafana.grafana\.ini.auth\.anonymous={"enabled":true,"org_role":"Viewer"}'

# $(call source,PREFIX OF THE VARIABLES): where a third-party chart comes from.
source = $(if $(CHARTS),$(CHARTS)/$($(1)_CHART),$($(1)_CHART) --repo $($(1)_REPO) --version $($(1)_VERSION))
# $(call chart,NAME,NAMESPACE,PREFIX): what helm has to know of its release.
chart = $(1) $(call source,$(3)) --namespace $(2) --values k8s/$($(3)_CHART).yaml $(if $(ON_KIND),$($(3)_ON_KIND)) $($(3)_ARGS)
# $(call release,NAME,NAMESPACE,PREFIX,STEP): the label tells later runs that this is not somebody else's.
release = mk/tools helm kubectl && $(call ours,$(1),$(2),$(4)) && \
  mk/progress "$(KUBECTL)" $(2) $(HELM) upgrade --install $(call chart,$(1),$(2),$(3)) \
  --labels installed-by=kelvin-make --wait --timeout $(TIMEOUT)
# $(call ours,NAME,NAMESPACE,STEP): fails where somebody else installed it.
ours = mk/ours "$(HELM)" "$(KUBECTL)" $(3) $(1) $(2) "$(ADOPT)"
# Kelvin's own release.
KELVIN = kelvin charts/kelvin --namespace kelvin --values k8s/kelvin.yaml \
  $(if $(filter valkey,$(STORE)),--values k8s/kelvin-valkey.yaml) $(KELVIN_ARGS)
install = mk/progress "$(KUBECTL)" kelvin $(HELM) upgrade --install $(KELVIN) --wait --timeout $(TIMEOUT) \
  $(if $(ON_KIND),--set-string image.tag=$(LOADED_TAG) --set image.pullPolicy=Never) $(1)
# Nodes of another cluster pull the images.
images_published = $(if $(ON_KIND),:,mk/image-registry "$(HELM)" $(KELVIN))
NO_PODS := $(addprefix --set ,$(addsuffix .replicas=0,server $(addprefix clients.,unary client-streaming server-streaming bidi-streaming)))

.PHONY: up down ui smoke scale upgrade loaded-tag bump cluster namespaces cert-manager monitoring jaeger collector collector-manifests \
  collector-version metrics-server valkey load load-cli kelvin kelvin-certificates

up: ## a kind cluster with Kelvin and its observability stack (CLUSTER, CONTEXT, KIND_IMAGE, CHARTS, STORE=valkey, SKIP, ADOPT, TIMEOUT, *_ARGS)
	@mk/tools $(if $(ON_KIND),docker kind kind-host) kubectl helm
	@$(if $(filter kelvin,$(SKIP)),:,$(images_published))
	@mk/steps "$(MAKE)" "$(SKIP)" $(STEPS)
	@echo "Next: make smoke (check it), make ui (look at it), make down (remove it)"

cluster:
	@mk/tools docker kind
	@kind get clusters 2>/dev/null | grep -qx '$(CLUSTER)' \
	  || kind create cluster --name $(CLUSTER) --config kind-config.yaml --wait 3m $(addprefix --image ,$(KIND_IMAGE))

namespaces:
	@mk/tools kubectl
	@mk/namespaces "$(KUBECTL)" k8s/namespaces.yaml

cert-manager:
	@$(call release,cert-manager,cert-manager,CERT_MANAGER,cert-manager)

monitoring: # helm installs CRDs and never upgrades them; the operator makes Prometheus after helm has done its part
	@mk/tools kubectl helm
	@$(call ours,prometheus,monitoring,monitoring)
	@mk/upgrade-crds "$(HELM)" "$(KUBECTL)" prometheus monitoring $(call source,PROMETHEUS)
	@$(call release,prometheus,monitoring,PROMETHEUS,monitoring)
	@$(KUBECTL) -n monitoring wait --for=condition=Available --timeout=$(TIMEOUT) prometheus --all >/dev/null

jaeger:
	@$(call release,jaeger,observability,JAEGER,jaeger)

collector:
	@$(call release,collector,observability,COLLECTOR,collector)

collector-manifests: # what the step above installs, for the tests
	@helm template $(call chart,collector,observability,COLLECTOR)

collector-version: # of the program in it
	@mk/app-version $(call source,COLLECTOR)

metrics-server:
	@$(call release,metrics-server,kube-system,METRICS_SERVER,metrics-server)

valkey:
	@mk/tools kubectl helm
	@$(call ours,valkey,valkey,valkey)
	@$(KUBECTL) apply --server-side -f k8s/ca.yaml >/dev/null
	@mk/certificates-ready "$(KUBECTL)" cert-manager
	@$(KUBECTL) apply --server-side -f k8s/valkey-tls.yaml >/dev/null
	@mk/certificates-ready "$(KUBECTL)" valkey
	@mk/valkey-secrets "$(KUBECTL)"
	@$(call release,valkey,valkey,VALKEY,valkey)

load: # the images, into the nodes
	@mk/tools docker kind
	@mk/load-images $(CLUSTER) $(LOADED_TAG) $(IMAGES)

load-cli: $(if $(BUILT),,image-cli) # the same for the image that makes load
	@mk/load-images $(CLUSTER) $(LOADED_TAG) kelvin-cli:$(IMAGE_TAG)

kelvin: $(if $(ON_KIND),load)
	@mk/tools kubectl helm
	@$(images_published)
	@$(HELM) --namespace kelvin status kelvin >/dev/null 2>&1 || $(MAKE) --no-print-directory kelvin-certificates
	@$(call install)

# Kubernetes warns of an Issuer until the Secret of its CA is there, and of pods until those of their certificates are.
# So the CA comes first, if the release is to have its own, put there as Helm will find it; then all but the pods.
kelvin-certificates:
	@mk/kelvin-ca "$(HELM)" "$(KUBECTL)" $(KELVIN)
	@$(call install,$(NO_PODS) --take-ownership)
	@mk/certificates-ready "$(KUBECTL)" kelvin

ui: ## forward Jaeger, Prometheus, Grafana and the server to local ports, until Ctrl-C
	@mk/tools kubectl
	@mk/ui "$(KUBECTL)"

smoke: ## check the running cluster from end to end (ARGS="--only trace")
	@mk/tools grpcurl
	@$(E2E) --context $(CONTEXT) $(ARGS)

scale: $(if $(ON_KIND),load-cli) ## check high availability with several servers (after `make up STORE=valkey`)
	@$(E2E) --context $(CONTEXT) --scale $(ARGS)

UPGRADE_FROM ?= c98df87
loaded-tag:
	@echo $(LOADED_TAG)

upgrade: ## install an older revision (UPGRADE_FROM), upgrade to this one and roll back, under load (after `make up`, on kind)
	@mk/tools docker kind kubectl helm
	@TIMEOUT=$(TIMEOUT) mk/upgrade "$(MAKE)" "$(HELM)" "$(KUBECTL)" $(CLUSTER) $(STORE) $(UPGRADE_FROM) $(E2E) --context $(CONTEXT)

bump: PREFIX = $(shell echo '$(CHART)' | tr a-z- A-Z_)
bump: ## change the version of a third-party chart: make bump CHART=jaeger [VERSION=4.11.1]
	@mk/tools helm
	@mk/bump '$(PREFIX)_VERSION' '$($(PREFIX)_VERSION)' '$(if $(findstring command,$(origin VERSION)),$(VERSION))' \
	  '$($(PREFIX)_CHART)' '$($(PREFIX)_REPO)'

down: ## remove the kind cluster and everything in it
	@$(if $(ON_KIND),,echo "$(CONTEXT) is not the kind cluster \"$(CLUSTER)\": remove the releases with helm uninstall" >&2; exit 1)
	@mk/tools docker kind
	@kind delete cluster --name $(CLUSTER)
