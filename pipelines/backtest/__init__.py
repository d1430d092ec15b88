"""The backtest: a history played through the real loop on a simulated clock."""
