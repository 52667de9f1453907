{%- set horizon = perennial.setting('churn_horizon_days') %}
-- Foretold at a day a horizon ago, from the orders before it alone, and held against the first
-- order after it.
with cuts as (
    select {{ perennial.add_days('as_of_on', -horizon) }} as cut_on
    from {{ ref('clock') }}
),

earlier as (
    select
        steps.customer_id,
        steps.category,
        steps.order_number,
        case when steps.next_ordered_on < cuts.cut_on then steps.next_category end
            as next_category
    from {{ ref('category_steps') }} as steps
    cross join cuts
    where steps.ordered_on < cuts.cut_on
),

came as (
    select
        steps.customer_id,
        steps.category as last_category,
        steps.next_category as category
    from {{ ref('category_steps') }} as steps
    cross join cuts
    where
        steps.ordered_on < cuts.cut_on
        and steps.next_ordered_on >= cuts.cut_on
),

foretold as (
    {{ perennial.next_category('earlier') }}
),

commonest as (
    select
        category,
        row_number() over (
            order by count(*) desc nulls last, category nulls last
        ) as place
    from earlier
    group by category
),

hits as (
    select
        count(*) as n_customers,
        count_if(came.category = foretold.category) as n_hits,
        count_if(came.category = came.last_category) as n_hits_of_last,
        count_if(came.category = commonest.category) as n_hits_of_commonest,
        -- Who is hit by one of two rules only tells them apart.
        count_if(
            came.category = foretold.category
            and came.category <> came.last_category
        ) as n_hits_alone,
        count_if(
            came.category <> foretold.category
            and came.category = came.last_category
        ) as n_hits_of_last_alone,
        cast(sum({{ perennial.exact('foretold.probability') }}) as double)
            as expected_hits
    from came
    inner join foretold
        on came.customer_id = foretold.customer_id
    inner join commonest
        on commonest.place = 1
)

select
    cast(cuts.cut_on as date) as foretold_on,
    cast({{ horizon }} as integer) as horizon_days,
    cast(hits.n_customers as bigint) as n_customers,
    cast(hits.n_hits / cast(hits.n_customers as double) as double) as hit_rate,
    cast({{ perennial.wilson('low', 'hits.n_hits', 'hits.n_customers') }} as double)
        as hit_rate_low,
    cast({{ perennial.wilson('high', 'hits.n_hits', 'hits.n_customers') }} as double)
        as hit_rate_high,
    cast(hits.expected_hits / hits.n_customers as double) as expected_hit_rate,
    cast(hits.n_hits_of_last / cast(hits.n_customers as double) as double)
        as last_category_hit_rate,
    cast(hits.n_hits_of_commonest / cast(hits.n_customers as double) as double)
        as commonest_category_hit_rate,
    -- McNemar's test: of those whom one rule alone hits, more than chance would give to it.
    cast(
        hits.n_hits_alone - hits.n_hits_of_last_alone
        > 1.96 * sqrt(hits.n_hits_alone + hits.n_hits_of_last_alone) as boolean
    ) as is_better_than_last_category
from hits
cross join cuts
where hits.n_customers > 0
