{%- set weights = perennial.setting('rfm_weights') %}
with buyers as (
    select
        clock.as_of_on as moment_on,
        customers.customer_id,
        cast(clock.as_of_on - customers.last_ordered_on as integer) as recency_days,
        customers.n_orders as frequency,
        customers.revenue_amount as monetary_amount
    from {{ ref('customers') }} as customers
    cross join {{ ref('clock') }} as clock
    where customers.n_orders > 0
),

segmented as (
    {{ perennial.rfm_segments_of('buyers') }}
)

select
    cast(customer_id as string) as customer_id,
    cast(segment as string) as segment,
    cast(recency_score as integer) as recency_score,
    cast(frequency_score as integer) as frequency_score,
    cast(monetary_score as integer) as monetary_score,
    cast(
        (
            recency_score * {{ weights.recency }}
            + frequency_score * {{ weights.frequency }}
            + monetary_score * {{ weights.monetary }}
        )
        / cast({{ weights.recency + weights.frequency + weights.monetary }} as double)
        as double
    ) as weighted_score,
    cast(recency_days as bigint) as recency_days,
    cast(frequency as bigint) as frequency,
    cast(monetary_amount as decimal(18, 2)) as monetary_amount
from segmented
