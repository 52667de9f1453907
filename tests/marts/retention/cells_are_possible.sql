-- All of a cohort buy in its first period, never more than all afterwards; bounds enclose the
-- rate; an immature cell shows no rate.
select *
from {{ ref('cohort_retention') }}
where
    (period_number = 0 and n_active_customers_to_date <> n_customers)
    or n_active_customers_to_date > n_customers
    or is_mature <> (retention_rate is not null)
    or is_mature <> (retention_denominator is not null)
    or retention_rate < retention_rate_low - 1e-12
    or retention_rate > retention_rate_high + 1e-12
