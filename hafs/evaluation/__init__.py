"""Whether a tuned model is better than its base: metrics, intervals, the gate, the judge, a council on trial."""
