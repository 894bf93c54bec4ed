# The Helm chart, without a cluster. What a missing tool would have checked is named in lines that begin with NOT RUN.
.PHONY: test-chart

test-chart: ## the Helm chart without a cluster (UPDATE=1 accepts what changed in its rendering and its values)
	UPDATE=$(UPDATE) cargo test --locked --quiet -p kelvin-chart
