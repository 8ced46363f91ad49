"""What the rewards among the outcomes say of each model, for Thompson sampling."""
