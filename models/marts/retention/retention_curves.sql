-- Numerators and denominators are added up, not rates: a cohort counts as much as it has customers.
with cells as (
    select
        definition,
        kind,
        period_grain,
        segment_type,
        segment,
        period_number,
        count(*) as n_cohorts,
        sum(retention_numerator) as n_retained,
        sum(retention_denominator) as n_customers
    from {{ ref('retention') }}
    where is_mature
    group by all
)

select
    cast(definition as string) as definition,
    cast(kind as string) as kind,
    cast(period_grain as string) as period_grain,
    cast(segment_type as string) as segment_type,
    cast(segment as string) as segment,
    cast(period_number as bigint) as period_number,
    cast(n_cohorts as bigint) as n_cohorts,
    cast(n_retained as bigint) as retention_numerator,
    cast(n_customers as bigint) as retention_denominator,
    cast(cast(n_retained as double) / n_customers as double) as retention_rate,
    cast({{ perennial.wilson('low', 'n_retained', 'n_customers') }} as double)
        as retention_rate_low,
    cast({{ perennial.wilson('high', 'n_retained', 'n_customers') }} as double)
        as retention_rate_high
from cells
