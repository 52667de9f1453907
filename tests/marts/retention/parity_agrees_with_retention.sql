-- Perennial's own rules, counted here another way, give what `retention` has.
select
    parity.activity,
    parity.period_grain,
    parity.cohort_start_on,
    parity.period_number
from {{ ref('retention_parity') }} as parity
inner join {{ ref('retention') }} as retention
    on
        parity.start_event = retention.start_event
        and parity.return_event = retention.return_event
        and parity.period_grain = retention.period_grain
        and parity.period_grain = retention.cohort_grain
        and parity.cohort_start_on = retention.cohort_start_on
        and parity.period_number = retention.period_number
where
    parity.rule_set = 'perennial'
    and retention.kind = parity.kind
    and retention.clock = 'calendar'
    and retention.starts = 'first'
    and retention.segment_type = 'all'
    and (
        parity.is_mature <> retention.is_mature
        or parity.n_customers <> retention.n_customers
        or coalesce(parity.retention_numerator, -1)
        <> coalesce(retention.retention_numerator, -1)
    )
