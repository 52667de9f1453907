-- What definitions share that differ only in what they make of the returns, and how far any of
-- them looks: most look at a few weeks of many years.
with definitions as (
    select
        *,
        {{ perennial.base_number() | indent(8) }} as base_number
    from {{ ref('retention_definitions') }}
)

select
    cast(definitions.base_number as bigint) as base_number,
    cast(definitions.starts as string) as starts,
    cast(definitions.start_event as string) as start_event,
    cast(definitions.return_event as string) as return_event,
    cast(definitions.clock as string) as clock,
    cast(definitions.cohort_grain as string) as cohort_grain,
    cast(definitions.period_grain as string) as period_grain,
    cast(
        case
            when bool_or(definitions.kind = 'unbounded' and definitions.horizon is null)
                then null
            else max(
                greatest(
                    coalesce(definitions.n_periods, 0),
                    coalesce(definitions.horizon, 0),
                    coalesce(brackets.to_period, 0)
                )
            )
        end
        as bigint
    ) as last_period
from definitions
left join {{ ref('retention_brackets') }} as brackets
    on definitions.definition = brackets.definition
group by all
