{%- set horizon = perennial.setting('churn_horizon_days') %}
{%- set step = perennial.setting('churn_step_days') %}
-- The moments at which we look back to learn: every step on a calendar of their own, so that
-- they stay where they are while as_of moves on. Only those whose horizon has passed.
with numbered as (
    select
        cast(
            floor(cast(clock.as_of_on - date '2000-01-01' as integer) / {{ step }})
            as integer
        ) - numbers.n as step_number,
        clock.as_of
    from {{ ref('clock') }} as clock
    cross join
        ({{ perennial.numbers(0, perennial.setting('churn_snapshots')) }}) as numbers
),

dated as (
    select
        {{ perennial.add_days("date '2000-01-01'", 'step_number * ' ~ step) }}
            as snapshot_on,
        as_of
    from numbered
)

select
    snapshot_on,
    {{ perennial.start_of_day_utc('snapshot_on') }} as snapshot_at
from dated
where
    {{ perennial.start_of_day_utc('snapshot_on') }} + {{ horizon }} * interval '1' day
    <= as_of
