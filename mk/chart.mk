# The Helm chart, without a cluster. What a missing tool would have checked is named in lines that begin with NOT RUN.
.PHONY: test-chart

test-chart: ## test the Helm chart without a cluster (UPDATE=1 updates the snapshot of its rendering and the table of its values)
	UPDATE=$(UPDATE) cargo test --locked --quiet -p kelvin-chart
