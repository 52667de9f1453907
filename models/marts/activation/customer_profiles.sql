-- depends_on: {{ ref('customer_tag_rules') }}
with order_hours as (
    select
        customer_id,
        hour({{ perennial.local_timestamp('ordered_at') }}) as order_hour,
        count(*) as n_orders
    from {{ ref('orders') }}
    where
        customer_id is not null
        and not is_cancelled
    group by all
),

best_hours as (
    select
        customer_id,
        min_by(order_hour, (-n_orders, order_hour)) as best_hour
    from order_hours
    group by customer_id
),

session_channels as (
    select
        customer_id,
        channel,
        count(*) as n_sessions
    from {{ ref('sessions') }}
    where customer_id is not null
    group by all
),

best_channels as (
    select
        customer_id,
        min_by(channel, (-n_sessions, channel)) as best_channel
    from session_channels
    group by customer_id
),

categories as (
    select
        customer_id,
        category,
        row_number() over (
            partition by customer_id
            order by sum(net_amount) desc nulls last, category
        ) as place
    from {{ ref('order_items') }}
    where
        customer_id is not null
        and not is_cancelled
        and category is not null
    group by customer_id, category
),

-- The three on which most was spent, the first one first.
favourites as (
    select
        customer_id,
        max(category) filter (where place = 1) as category_1,
        max(category) filter (where place = 2) as category_2,
        max(category) filter (where place = 3) as category_3
    from categories
    where place <= 3
    group by customer_id
),

quarters as (
    select
        customer_id,
        -- Customers who brought the same are in the same quarter.
        ceil(4 * cume_dist() over (order by monetary_amount nulls last))
            as value_quarter
    from {{ ref('rfm') }}
    where monetary_amount is not null
),

-- All that the rules of tags may ask for.
facts as (
    select
        customers.customer_id,
        customers.country,
        customers.region,
        customers.gender,
        {{ perennial.full_years('customers.birth_date', 'clock.as_of_on') | indent(8) }}
            as age,
        customers.channel,
        customers.first_device,
        customers.has_marketing_consent,
        customers.n_orders,
        customers.n_sessions,
        customers.first_ordered_on,
        customers.last_ordered_on,
        cast(clock.as_of_on - customers.first_ordered_on as integer)
            as days_since_first_order,
        cast(clock.as_of_on - customers.last_ordered_on as integer) as recency_days,
        customers.revenue_amount,
        customers.average_order_amount,
        quarters.value_quarter,
        cast(customers.discount_amount as double)
        / nullif(cast(customers.gross_amount as double), 0)
            as discount_share,
        cast(customers.refund_amount as double)
        / nullif(
            cast(customers.revenue_amount + customers.refund_amount as double), 0
        )
            as refund_share,
        favourites.category_1 as favourite_category,
        favourites.category_2 as second_category,
        favourites.category_3 as third_category,
        best_hours.best_hour,
        best_channels.best_channel,
        rfm.segment as rfm_segment,
        clusters.cluster,
        value.expected_amount_90d,
        value.expected_amount_365d,
        value.next_order_on,
        scores.churn_probability,
        scores.risk_decile,
        scores.reason_1 as churn_reason
    from {{ ref('customers') }} as customers
    cross join {{ ref('clock') }} as clock
    left join best_hours
        on customers.customer_id = best_hours.customer_id
    left join best_channels
        on customers.customer_id = best_channels.customer_id
    left join favourites
        on customers.customer_id = favourites.customer_id
    left join quarters
        on customers.customer_id = quarters.customer_id
    left join {{ ref('rfm') }} as rfm
        on customers.customer_id = rfm.customer_id
    left join {{ ref('customer_clusters') }} as clusters
        on customers.customer_id = clusters.customer_id
    left join {{ ref('customer_lifetime_value') }} as value
        on customers.customer_id = value.customer_id
    left join {{ ref('churn_scores') }} as scores
        on customers.customer_id = scores.customer_id
)

select
    cast(customer_id as string) as customer_id,
    cast(country as string) as country,
    cast(region as string) as region,
    cast(gender as string) as gender,
    cast(age as integer) as age,
    cast(channel as string) as channel,
    cast(first_device as string) as first_device,
    cast(has_marketing_consent as boolean) as has_marketing_consent,
    cast(n_orders as bigint) as n_orders,
    cast(n_sessions as bigint) as n_sessions,
    cast(first_ordered_on as date) as first_ordered_on,
    cast(last_ordered_on as date) as last_ordered_on,
    cast(days_since_first_order as integer) as days_since_first_order,
    cast(recency_days as integer) as recency_days,
    cast(revenue_amount as decimal(18, 2)) as revenue_amount,
    cast(average_order_amount as decimal(18, 2)) as average_order_amount,
    cast(value_quarter as integer) as value_quarter,
    cast(discount_share as double) as discount_share,
    cast(refund_share as double) as refund_share,
    cast(favourite_category as string) as favourite_category,
    cast(second_category as string) as second_category,
    cast(third_category as string) as third_category,
    cast(best_hour as integer) as best_hour,
    cast(best_channel as string) as best_channel,
    cast(rfm_segment as string) as rfm_segment,
    cast(cluster as string) as cluster,
    cast(expected_amount_90d as decimal(18, 2)) as expected_amount_90d,
    cast(expected_amount_365d as decimal(18, 2)) as expected_amount_365d,
    cast(next_order_on as date) as next_order_on,
    cast(churn_probability as double) as churn_probability,
    cast(risk_decile as integer) as risk_decile,
    cast(churn_reason as string) as churn_reason,
    cast(
        concat_ws(
            ', ',
            {%- for tag, condition in perennial.tag_rules() %}
            case when {{ condition }} then '{{ tag | replace("'", "''") }}' end,
            {%- endfor %}
            cast(null as string)
        ) as string
    ) as tags
from facts
