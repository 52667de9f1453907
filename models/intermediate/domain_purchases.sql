{%- set horizon = perennial.setting('churn_horizon_days') %}
{%- set domain_types = ['category', 'sales_channel', 'platform'] %}
-- The platform of the last purchase event of the day.
with platforms as (
    select
        customer_id,
        occurred_on,
        platform,
        known_at,
        row_number() over (
            partition by customer_id, occurred_on
            order by occurred_at desc nulls last, event_id desc nulls last
        ) as place
    from {{ ref('events') }}
    where
        event_type = 'purchase'
        and customer_id is not null
        and platform is not null
),

bought as (
    select
        items.customer_id,
        items.product_id,
        case when products.category <> 'unknown' then products.category end as category,
        orders.sales_channel,
        platforms.platform,
        cast(clock.as_of_on - items.ordered_on as integer) as days_ago,
        {{ perennial.cut_number('orders.known_at') | indent(8) }} as cut_number,
        {{ perennial.cut_number(
            'greatest(orders.known_at, platforms.known_at)'
        ) | indent(8) }}
            as cut_number_of_platform
    from {{ ref('order_items') }} as items
    inner join {{ ref('orders') }} as orders
        on items.order_id = orders.order_id
    inner join {{ ref('products') }} as products
        on items.product_id = products.product_id
    left join platforms
        on
            items.customer_id = platforms.customer_id
            and items.ordered_on = platforms.occurred_on
            and platforms.place = 1
    cross join {{ ref('clock') }} as clock
    where
        items.customer_id is not null
        and not items.is_cancelled
        and items.ordered_on <= clock.as_of_on
),

in_domains as (
    {%- for domain_type in domain_types %}
    select
        customer_id,
        product_id,
        '{{ domain_type }}' as domain_type,
        {{ domain_type }} as domain,
        days_ago,
        {{ 'cut_number_of_platform' if domain_type == 'platform' else 'cut_number' }}
            as cut_number
    from bought
    where {{ domain_type }} is not null
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    cast(customer_id as string) as customer_id,
    cast(product_id as string) as product_id,
    cast(domain_type as string) as domain_type,
    cast(domain as string) as domain,
    cast({{ perennial.cut_name('min(cut_number)') | indent(4) }} as string)
        as known_from,
    cast(
        bool_or(days_ago >= {{ horizon }} and days_ago < {{ 2 * horizon }}) as boolean
    ) as is_bought_after_validation,
    cast(bool_or(days_ago < {{ horizon }}) as boolean) as is_bought_after_test
from in_domains
group by customer_id, product_id, domain_type, domain
