-- The shop's own figure, on top of a mart of Perennial: who ordered again in the month after.
select
    sum(retention_numerator) as n_came_back,
    sum(retention_denominator) as n_customers,
    sum(retention_numerator) / sum(retention_denominator) as came_back_rate
from {{ ref('perennial', 'cohort_retention') }}
where grain = 'month' and segment_type = 'all' and period_number = 1 and is_mature
