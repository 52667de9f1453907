{%- set weights = perennial.setting('rfm_weights') %}
with buyers as (
    select
        customers.customer_id,
        cast(clock.as_of_on - customers.last_ordered_on as integer) as recency_days,
        customers.n_orders as frequency,
        customers.revenue_amount as monetary_amount
    from {{ ref('customers') }} as customers
    cross join {{ ref('clock') }} as clock
    where customers.n_orders > 0
),

-- Values at which a fifth, two fifths, … of the customers lie: cutting by value rather than
-- by rank keeps customers with equal values in the same score.
cuts as (
    select
        percentile_disc(0.2) within group (order by recency_days) as recency_1,
        percentile_disc(0.4) within group (order by recency_days) as recency_2,
        percentile_disc(0.6) within group (order by recency_days) as recency_3,
        percentile_disc(0.8) within group (order by recency_days) as recency_4,
        percentile_disc(0.2) within group (order by frequency) as frequency_1,
        percentile_disc(0.4) within group (order by frequency) as frequency_2,
        percentile_disc(0.6) within group (order by frequency) as frequency_3,
        percentile_disc(0.8) within group (order by frequency) as frequency_4,
        percentile_disc(0.2) within group (order by monetary_amount) as monetary_1,
        percentile_disc(0.4) within group (order by monetary_amount) as monetary_2,
        percentile_disc(0.6) within group (order by monetary_amount) as monetary_3,
        percentile_disc(0.8) within group (order by monetary_amount) as monetary_4
    from buyers
),

scored as (
    select
        buyers.*,
        1
        + cast(buyers.recency_days > cuts.recency_1 as integer)
        + cast(buyers.recency_days > cuts.recency_2 as integer)
        + cast(buyers.recency_days > cuts.recency_3 as integer)
        + cast(buyers.recency_days > cuts.recency_4 as integer) as recency_place,
        1
        + cast(buyers.frequency > cuts.frequency_1 as integer)
        + cast(buyers.frequency > cuts.frequency_2 as integer)
        + cast(buyers.frequency > cuts.frequency_3 as integer)
        + cast(buyers.frequency > cuts.frequency_4 as integer) as frequency_place,
        1
        + cast(buyers.monetary_amount > cuts.monetary_1 as integer)
        + cast(buyers.monetary_amount > cuts.monetary_2 as integer)
        + cast(buyers.monetary_amount > cuts.monetary_3 as integer)
        + cast(buyers.monetary_amount > cuts.monetary_4 as integer) as monetary_place
    from buyers
    cross join cuts
),

-- Few days since the last order are good, so recency counts from the other side.
oriented as (
    select
        *,
        6 - recency_place as recency_score,
        frequency_place as frequency_score,
        monetary_place as monetary_score
    from scored
)

select
    cast(oriented.customer_id as string) as customer_id,
    cast(segments.segment as string) as segment,
    cast(oriented.recency_score as integer) as recency_score,
    cast(oriented.frequency_score as integer) as frequency_score,
    cast(oriented.monetary_score as integer) as monetary_score,
    cast(
        (
            oriented.recency_score * {{ weights.recency }}
            + oriented.frequency_score * {{ weights.frequency }}
            + oriented.monetary_score * {{ weights.monetary }}
        )
        / cast({{ weights.recency + weights.frequency + weights.monetary }} as double)
        as double
    ) as weighted_score,
    cast(oriented.recency_days as bigint) as recency_days,
    cast(oriented.frequency as bigint) as frequency,
    cast(oriented.monetary_amount as decimal(18, 2)) as monetary_amount
from oriented
left join {{ ref('rfm_segments') }} as segments
    on
        oriented.recency_score = segments.recency_score
        and oriented.frequency_score = segments.frequency_score
        and oriented.monetary_score = segments.monetary_score
