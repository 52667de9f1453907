{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('checked_customers', 'customer_id') }}
    union
    {{ perennial.changes('orders', 'customer_id') }}
    union
    {{ perennial.changes('order_items', 'customer_id') }}
    union
    {{ perennial.changes('refunds', 'customer_id') }}
    union
    {{ perennial.changes('events', 'customer_id') }}
    union
    {{ perennial.changes('sessions', 'customer_id') }}
{%- endcall %}
with orders as (
    select *
    from {{ ref('orders') }}
    where
        customer_id is not null
        and not is_cancelled
        {{ perennial.touched_only('customer_id', 'and') }}
),

-- Everyone that any table names is a customer, with an account or without.
ids as (
    {%- for table in ['stg_customers', 'orders', 'refunds', 'events'] %}
    select customer_id
    from {{ ref(table) }}
    where
        customer_id is not null
        {{ perennial.touched_only('customer_id', 'and') }}
    {{ 'union' if not loop.last }}
    {%- endfor %}
),

order_totals as (
    select
        customer_id,
        count(*) as n_orders,
        min(ordered_at) as first_ordered_at,
        max(ordered_at) as last_ordered_at,
        sum(n_units) as n_units,
        {{ perennial.complete_sum('gross_amount') }} as gross_amount,
        {{ perennial.complete_sum('discount_amount') }} as discount_amount,
        {{ perennial.complete_sum('net_amount') }} as net_amount
    from orders
    group by all
),

first_orders as (
    select
        customer_id,
        order_id,
        sales_channel,
        coupon_code is not null as has_coupon
    from orders
    where is_first_order
),

-- The category on which most of the first order was spent.
first_categories as (
    select
        first_orders.customer_id,
        items.category,
        row_number() over (
            partition by first_orders.customer_id
            order by sum(items.net_amount) desc nulls last, items.category
        ) as place
    from first_orders
    inner join {{ ref('order_items') }} as items
        on first_orders.order_id = items.order_id
    group by first_orders.customer_id, items.category
),

cancelled as (
    select
        customer_id,
        count(*) as n_cancelled_orders
    from {{ ref('orders') }}
    where
        is_cancelled
        {{ perennial.touched_only('customer_id', 'and') }}
    group by all
),

refunds as (
    select
        customer_id,
        count(*) as n_refunds,
        {{ perennial.complete_sum('amount') }} as refund_amount
    from {{ ref('refunds') }}
    where
        not is_order_cancelled
        {{ perennial.touched_only('customer_id', 'and') }}
    group by all
),

-- No order and no refund are amounts of 0; one that lacks its exchange rate stays null.
amounts as (
    select
        ids.customer_id,
        case
            when order_totals.customer_id is null then 0 else order_totals.gross_amount
        end as gross_amount,
        case
            when order_totals.customer_id is null then 0 else
                order_totals.discount_amount
        end
            as discount_amount,
        case
            when order_totals.customer_id is null then 0 else order_totals.net_amount
        end as net_amount,
        case when refunds.customer_id is null then 0 else refunds.refund_amount end
            as refund_amount
    from ids
    left join order_totals
        on ids.customer_id = order_totals.customer_id
    left join refunds
        on ids.customer_id = refunds.customer_id
),

visits as (
    select
        sessions.customer_id,
        count(*) as n_sessions,
        min(sessions.started_at) as first_visited_at,
        max(sessions.ended_at) as last_visited_at,
        -- A visit after the first order cannot have brought the customer.
        min_by(sessions.channel, (sessions.started_at, sessions.session_id)) filter (
            where
            order_totals.customer_id is null
            or sessions.started_at <= order_totals.first_ordered_at
        ) as first_visit_channel,
        min_by(sessions.device, (sessions.started_at, sessions.session_id)) filter (
            where sessions.device is not null
        ) as first_device
    from {{ ref('sessions') }} as sessions
    left join order_totals
        on sessions.customer_id = order_totals.customer_id
    where
        sessions.customer_id is not null
        {{ perennial.touched_only('sessions.customer_id', 'and') }}
    group by all
)

select
    cast(ids.customer_id as string) as customer_id,
    cast(accounts.country as string) as country,
    cast(accounts.region as string) as region,
    cast(accounts.gender as string) as gender,
    cast(accounts.birth_date as date) as birth_date,
    cast(accounts.email_hash as string) as email_hash,
    -- What the shop says of the origin; else where the first visit came from; else the till.
    cast(
        coalesce(
            accounts.acquisition_channel,
            visits.first_visit_channel,
            first_orders.sales_channel
        )
        as string
    ) as channel,
    cast(first_categories.category as string) as first_category,
    cast(visits.first_device as string) as first_device,
    cast(first_orders.order_id as string) as first_order_id,
    -- Silence is no consent.
    cast(coalesce(accounts.marketing_consent, false) as boolean)
        as has_marketing_consent,
    cast(accounts.customer_id is not null as boolean) as has_account,
    cast(first_orders.has_coupon as boolean) as has_first_order_coupon,
    cast(coalesce(order_totals.n_orders, 0) >= 2 as boolean) as is_repeat_customer,
    cast(coalesce(order_totals.n_orders, 0) as bigint) as n_orders,
    cast(coalesce(cancelled.n_cancelled_orders, 0) as bigint) as n_cancelled_orders,
    cast(coalesce(refunds.n_refunds, 0) as bigint) as n_refunds,
    cast(coalesce(visits.n_sessions, 0) as bigint) as n_sessions,
    cast(coalesce(order_totals.n_units, 0) as decimal(18, 3)) as n_units,
    cast(amounts.gross_amount as decimal(18, 2)) as gross_amount,
    cast(amounts.discount_amount as decimal(18, 2)) as discount_amount,
    cast(amounts.refund_amount as decimal(18, 2)) as refund_amount,
    cast(amounts.net_amount - amounts.refund_amount as decimal(18, 2))
        as revenue_amount,
    cast(
        {{ perennial.share('order_totals.net_amount', '1', 'order_totals.n_orders') }}
        as decimal(18, 2)
    ) as average_order_amount,
    cast(accounts.created_at as timestamp) as created_at,
    cast(order_totals.first_ordered_at as timestamp) as first_ordered_at,
    cast(order_totals.last_ordered_at as timestamp) as last_ordered_at,
    cast(
        {{ perennial.local_date('order_totals.first_ordered_at') }} as date
    ) as first_ordered_on,
    cast(
        {{ perennial.local_date('order_totals.last_ordered_at') }} as date
    ) as last_ordered_on,
    cast(visits.first_visited_at as timestamp) as first_visited_at,
    cast(visits.last_visited_at as timestamp) as last_visited_at
from ids
inner join amounts
    on ids.customer_id = amounts.customer_id
left join {{ ref('stg_customers') }} as accounts
    on ids.customer_id = accounts.customer_id
left join order_totals
    on ids.customer_id = order_totals.customer_id
left join first_orders
    on ids.customer_id = first_orders.customer_id
left join first_categories
    on
        ids.customer_id = first_categories.customer_id
        and first_categories.place = 1
left join cancelled
    on ids.customer_id = cancelled.customer_id
left join refunds
    on ids.customer_id = refunds.customer_id
left join visits
    on ids.customer_id = visits.customer_id
