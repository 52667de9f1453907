-- Customers as they were known at the end of each cut's day, and what they did afterwards.
with purchases as (
    select
        cut,
        cut_on,
        customer_id,
        min(ordered_on) as first_purchase_on,
        max(ordered_on) filter (where is_history) as last_purchase_on,
        count_if(is_history) as n_purchases,
        count_if(not is_history) as n_later_purchases,
        count(net_amount) filter (where is_history) as n_known_amounts,
        count(net_amount) filter (where not is_history) as n_known_later_amounts,
        coalesce(sum(net_amount) filter (where is_history), 0) as net_amount,
        coalesce(sum(net_amount) filter (where not is_history), 0) as later_net_amount
    from {{ ref('purchase_days') }}
    group by all
    having count_if(is_history) > 0
),

moments as (
    select distinct
        cut,
        cut_on,
        cut_at
    from {{ ref('purchase_days') }}
),

refunds as (
    select
        moments.cut,
        refunds.customer_id,
        sum(refunds.amount) filter (where refunds.refunded_on <= moments.cut_on)
            as refund_amount,
        sum(refunds.amount) filter (where refunds.refunded_on > moments.cut_on)
            as later_refund_amount,
        count_if(refunds.amount is null and refunds.refunded_on <= moments.cut_on)
            as n_unknown_amounts,
        count_if(refunds.amount is null and refunds.refunded_on > moments.cut_on)
            as n_unknown_later_amounts
    from {{ ref('refunds') }} as refunds
    cross join moments
    where
        refunds.customer_id is not null
        and not refunds.is_order_cancelled
        and (
            moments.cut = 'today'
            or refunds.refunded_on > moments.cut_on
            or refunds.known_at < moments.cut_at
        )
    group by all
)

select
    cast(purchases.cut as string) as cut,
    cast(purchases.customer_id as string) as customer_id,
    cast(purchases.cut_on as date) as cut_on,
    cast(coalesce(customers.channel, '(unknown)') as string) as channel,
    cast(purchases.first_purchase_on as date) as first_purchase_on,
    cast(purchases.last_purchase_on as date) as last_purchase_on,
    cast(purchases.n_purchases - 1 as bigint) as n_repeats,
    cast(purchases.last_purchase_on - purchases.first_purchase_on as integer)
        as last_days,
    cast(purchases.cut_on - purchases.first_purchase_on as integer) as age_days,
    -- Who gave more back than was bought in the end spends nothing.
    cast(
        case
            when
                purchases.n_known_amounts = purchases.n_purchases
                and coalesce(refunds.n_unknown_amounts, 0) = 0
                then greatest(
                    0,
                    cast(
                        purchases.net_amount - coalesce(refunds.refund_amount, 0)
                        as double
                    ) / purchases.n_purchases
                )
        end
        as double
    ) as mean_amount,
    cast(
        case when purchases.cut = 'holdout' then purchases.n_later_purchases end
        as bigint
    ) as n_later_purchases,
    cast(
        case
            when
                purchases.cut = 'holdout'
                and purchases.n_known_later_amounts = purchases.n_later_purchases
                and coalesce(refunds.n_unknown_later_amounts, 0) = 0
                then
                    purchases.later_net_amount
                    - coalesce(refunds.later_refund_amount, 0)
        end
        as decimal(18, 2)
    ) as later_amount
from purchases
inner join {{ ref('customers') }} as customers
    on purchases.customer_id = customers.customer_id
left join refunds
    on
        purchases.cut = refunds.cut
        and purchases.customer_id = refunds.customer_id
