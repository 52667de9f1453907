{%- set weights = perennial.setting('rfm_weights') %}
with buyers as (
    select
        customers.customer_id,
        clock.as_of_on - customers.last_ordered_on as recency_days,
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
        {%- for part, column in [('recency', 'recency_days'), ('frequency', 'frequency'), ('monetary', 'monetary_amount')] %}
        {%- set outer_loop = loop %}
        {%- for fifth in [1, 2, 3, 4] %}
        percentile_disc(0.{{ 2 * fifth }}) within group (order by {{ column }}) as {{ part }}_{{ fifth }}
        {{- ',' if not (outer_loop.last and loop.last) }}
        {%- endfor %}
        {%- endfor %}
    from buyers
),

scored as (
    select
        buyers.*,
        -- Few days since the last order are good, so recency counts from the other side.
        5
        {%- for fifth in [1, 2, 3, 4] %}
        - cast(buyers.recency_days > cuts.recency_{{ fifth }} as integer)
        {%- endfor %} as recency_score,
        {%- for part, column in [('frequency', 'frequency'), ('monetary', 'monetary_amount')] %}
        1
        {%- for fifth in [1, 2, 3, 4] %}
        + cast(buyers.{{ column }} > cuts.{{ part }}_{{ fifth }} as integer)
        {%- endfor %} as {{ part }}_score{{ ',' if not loop.last }}
        {%- endfor %}
    from buyers
    cross join cuts
)

select
    cast(scored.customer_id as varchar) as customer_id,
    cast(segments.segment as varchar) as segment,
    cast(scored.recency_score as integer) as recency_score,
    cast(scored.frequency_score as integer) as frequency_score,
    cast(scored.monetary_score as integer) as monetary_score,
    cast(
        (
            scored.recency_score * {{ weights.recency }}
            + scored.frequency_score * {{ weights.frequency }}
            + scored.monetary_score * {{ weights.monetary }}
        ) / {{ (weights.recency + weights.frequency + weights.monetary) | float }}
        as double
    ) as weighted_score,
    cast(scored.recency_days as bigint) as recency_days,
    cast(scored.frequency as bigint) as frequency,
    cast(scored.monetary_amount as decimal(18, 2)) as monetary_amount
from scored
left join {{ ref('rfm_segments') }} as segments
    on
        scored.recency_score = segments.recency_score
        and scored.frequency_score = segments.frequency_score
        and scored.monetary_score = segments.monetary_score
