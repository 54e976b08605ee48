-- Which report takes another one back: asked before Stripe's word is taken that it counted none.

CREATE INDEX usage_reports_cancellations ON usage_reports (cancels) WHERE cancels IS NOT NULL;
