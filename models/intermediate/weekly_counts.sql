-- Whole weeks only: the one that the first order lies in may have begun before the shop, and that
-- of as_of is not over.
with weeks as (
    select distinct calendar.period_start_on as week_start_on
    from {{ ref('calendar') }} as calendar
    cross join {{ ref('clock') }} as clock
    where
        calendar.grain = 'week'
        and {{ perennial.add_periods('week', 'calendar.period_start_on', 1) }}
        <= clock.as_of_on
        and calendar.period_start_on
        > (select min(orders.ordered_on) from {{ ref('orders') }} as orders)
),

counted as (
    select
        {{ perennial.period_start('week', 'ordered_on') }} as week_start_on,
        count(*) as n_orders,
        count(distinct customer_id) as n_customers
    from {{ ref('orders') }}
    where not is_cancelled
    group by 1
)

{% for metric, column in [
    ('orders', 'n_orders'), ('active_customers', 'n_customers')
] -%}
select
    '{{ metric }}' as metric,
    weeks.week_start_on,
    coalesce(counted.{{ column }}, 0) as value
from weeks
left join counted
    on weeks.week_start_on = counted.week_start_on
{{ 'union all' if not loop.last }}
{% endfor %}
