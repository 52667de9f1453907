-- How long each customer was watched, in days of the shop, and whether what the curve waits
-- for happened then. Who is still waiting at as_of is censored, never counted as lost.
with customers as (
    select
        customer_id,
        first_ordered_on
    from {{ ref('customers') }}
    where first_ordered_on is not null
),

waits as (
    {%- for n in range(2, 6) %}
    select
        customers.customer_id,
        'order_{{ n }}' as curve,
        customers.first_ordered_on as began_on,
        orders.ordered_on as happened_on
    from customers
    left join {{ ref('orders') }} as orders
        on
            customers.customer_id = orders.customer_id
            and orders.order_number = {{ n }}
            and not orders.is_cancelled
    {{ 'union all' if not loop.last }}
    {%- endfor %}

    union all

    select
        customers.customer_id,
        'dormancy' as curve,
        customers.first_ordered_on as began_on,
        rhythms.first_dormant_on as happened_on
    from customers
    left join {{ ref('customer_rhythms') }} as rhythms
        on customers.customer_id = rhythms.customer_id
)

select
    cast(waits.curve as string) as curve,
    cast(waits.customer_id as string) as customer_id,
    cast(
        coalesce(waits.happened_on, clock.as_of_on) - waits.began_on as integer
    ) as n_days,
    cast(waits.happened_on is not null as boolean) as has_happened
from waits
cross join {{ ref('clock') }} as clock
