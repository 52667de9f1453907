{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('checked_refunds', 'refund_id') }}
    union
    select refund_id
    from {{ ref('stg_refunds') }}
    where
        {{ perennial.newly_happened('refunded_at') }}
        or 'refunds' in ({{ perennial.changes('first_loads', 'table_name') }})
    -- What the refund takes from its order, or from the customer's order before it.
    union
    select refund_id
    from {{ ref('stg_refunds') }}
    where order_id in ({{ perennial.changes('checked_orders', 'order_id') }})
    union
    select refund_id
    from {{ ref('stg_refunds') }}
    where
        order_id is null
        and customer_id in ({{ perennial.changes('priced_orders', 'customer_id') }})
    -- Its currency is known here only.
    union
    select refunds.refund_id
    from {{ ref('stg_refunds') }} as refunds
    inner join ({{ perennial.changes('currency_rates', 'span') }}) as rates
        on {{ perennial.in_span(none, 'refunds.refunded_at', 'rates.span') }}
{%- endcall %}
with refunds as (
    select
        *,
        {{ perennial.local_date('refunded_at') }} as refunded_on,
        (
            select load_began_at
            from {{ ref('first_loads') }}
            where table_name = 'refunds'
        ) as load_began_at
    from {{ ref('stg_refunds') }}
    {{ perennial.touched_only('refund_id') }}
),

-- A refund that the shop cannot link to its order is in the currency of the customer's
-- last order before it.
last_orders as (
    select
        refunds.refund_id,
        max_by(orders.currency, (orders.ordered_at, orders.order_id)) as currency
    from refunds
    inner join {{ ref('priced_orders') }} as orders
        on
            refunds.customer_id = orders.customer_id
            and refunds.refunded_at >= orders.ordered_at
    where refunds.order_id is null
    group by all
)

select
    cast(refunds.refund_id as string) as refund_id,
    cast(refunds.order_id as string) as order_id,
    cast(refunds.line_number as bigint) as line_number,
    -- A guest's order stays a guest's, whoever the refund names.
    cast(
        case
            when orders.order_id is null then refunds.customer_id else
                orders.customer_id
        end
        as string
    ) as customer_id,
    cast(refunds.product_id as string) as product_id,
    cast(refunds.reason as string) as reason,
    -- A cancelled order earned nothing that could be given back.
    cast(coalesce(orders.status, '') = 'cancelled' as boolean) as is_order_cancelled,
    cast(refunds.quantity as decimal(18, 3)) as quantity,
    cast(
        {{ perennial.in_reporting_currency('refunds.amount', 'rates.rate') }}
        as decimal(18, 2)
    ) as amount,
    cast(refunds.refunded_at as timestamp) as refunded_at,
    cast(refunds.refunded_on as date) as refunded_on,
    cast(refunds.ingested_at as timestamp) as ingested_at,
    cast(
        {{ perennial.known_at(
            'refunds.refunded_at', 'refunds.first_ingested_at', 'refunds.load_began_at'
        ) }}
        as timestamp
    ) as known_at
from refunds
cross join {{ ref('clock') }} as clock
left join {{ ref('stg_orders') }} as orders
    on refunds.order_id = orders.order_id
left join last_orders
    on refunds.refund_id = last_orders.refund_id
-- Money goes back at the rate of the day on which it goes back.
left join {{ ref('currency_rates') }} as rates
    on
        coalesce(
            orders.currency, last_orders.currency, '{{ perennial.setting("currency") }}'
        )
        = rates.currency
        and refunds.refunded_on >= rates.valid_from
        and refunds.refunded_on < rates.valid_before
where refunds.refunded_at <= clock.as_of
