"""What operators say on ``control``, and what it adds up to: the schedule, its policies and ramps, the fleet, the guard."""
