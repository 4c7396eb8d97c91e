"""Who answers: hosts and local models behind failover, quotas and policy."""
