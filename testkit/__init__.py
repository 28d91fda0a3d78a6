"""What tests, benches, fault runs and attacks share: brokers, servers, proxies, stacks."""
