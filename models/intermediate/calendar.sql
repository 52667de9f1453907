-- Weeks and months by the shop's own rules, once, so that a period number is a difference
-- of two indexes whatever the grain.
with span as (
    select
        min(first_on) as first_on,
        max(as_of_on) as as_of_on
    from (
        select min(ordered_on) as first_on from {{ ref('orders') }}
        union all
        select min(occurred_on) as first_on from {{ ref('events') }}
    )
    cross join {{ ref('clock') }}
),

day_numbers as (
    {{ perennial.numbers(
        0, '(select coalesce(cast(as_of_on - first_on as integer), -1) from span)'
    ) }}
),

days as (
    select {{ perennial.add_days('span.first_on', 'day_numbers.n') }} as day_on
    from day_numbers
    cross join span
)

{% for grain in ['day', 'week', 'month'] -%}
select
    cast('{{ grain }}' as string) as grain,
    cast(day_on as date) as day_on,
    cast({{ perennial.period_start(grain, 'day_on') }} as date) as period_start_on,
    cast({{ perennial.periods_between(
        grain, "date '1970-01-01'", perennial.period_start(grain, 'day_on')
    ) }} as bigint) as period_index
from days
{{ 'union all' if not loop.last }}
{% endfor %}
