-- Reports that Stripe has, or may have, and bills nowhere: a period may yet turn out to cover them.

CREATE INDEX usage_reports_strays ON usage_reports (customer, meter_key, id)
    WHERE reason IN ('stray_taken', 'stray_unknown');
