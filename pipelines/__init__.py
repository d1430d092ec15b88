"""When it happens: definitions, jobs, schedules, sensors, and the backtest."""
