{%- set horizon = perennial.setting('churn_horizon_days') %}
-- Lists of a day a horizon ago, from first orders that were known by then, held against the first
-- orders that came since.
with cuts as (
    select {{ perennial.add_days('as_of_on', -horizon) }} as cut_on
    from {{ ref('clock') }}
),

-- An order may be known before the visit that led to it.
earlier as (
    select
        purchases.customer_id,
        purchases.product_id,
        purchases.country,
        purchases.channel,
        purchases.first_device,
        case
            when purchases.viewed_known_on <= cuts.cut_on
                then purchases.first_viewed_category
        end as first_viewed_category,
        case
            when purchases.viewed_known_on <= cuts.cut_on
                then purchases.first_viewed_product
        end as first_viewed_product
    from {{ ref('first_purchases') }} as purchases
    cross join cuts
    where
        purchases.ordered_on > {{ perennial.add_days('cuts.cut_on', -365) }}
        and purchases.ordered_on <= cuts.cut_on
        and purchases.known_on <= cuts.cut_on
),

lists as (
    {{ perennial.newcomer_lists('earlier') }}
),

came as (
    select purchases.*
    from {{ ref('first_purchases') }} as purchases
    cross join cuts
    where purchases.ordered_on > cuts.cut_on
),

members as (
    {{ perennial.newcomer_members('came') }}
),

-- Whether each newcomer bought any of the ten of their segment, and of those of all.
tried as (
    select
        members.segment_type,
        members.customer_id,
        coalesce(bool_or(own.product_id is not null), false) as is_hit,
        coalesce(bool_or(everybody.product_id is not null), false) as is_hit_of_all
    from members
    -- A segment that nobody was of has no list.
    inner join (
        select distinct
            segment_type,
            segment
        from lists
    ) as segments
        on
            members.segment_type = segments.segment_type
            and members.segment = segments.segment
    left join lists as own
        on
            members.segment_type = own.segment_type
            and members.segment = own.segment
            and members.product_id = own.product_id
    left join lists as everybody
        on
            everybody.segment_type = 'all'
            and members.product_id = everybody.product_id
    group by members.segment_type, members.customer_id
),

hits as (
    select
        segment_type,
        count(*) as n_newcomers,
        count_if(is_hit) as n_hits,
        count_if(is_hit_of_all) as n_hits_of_all,
        -- Who is hit by one of two lists only tells them apart.
        count_if(is_hit and not is_hit_of_all) as n_hits_alone,
        count_if(is_hit_of_all and not is_hit) as n_hits_of_all_alone
    from tried
    group by segment_type
)

select
    cast(hits.segment_type as string) as segment_type,
    cast(cuts.cut_on as date) as foretold_on,
    cast(hits.n_newcomers as bigint) as n_newcomers,
    cast(hits.n_hits as bigint) as n_hits,
    cast(hits.n_hits / cast(hits.n_newcomers as double) as double) as hit_rate,
    cast({{ perennial.wilson('low', 'hits.n_hits', 'hits.n_newcomers') }} as double)
        as hit_rate_low,
    cast({{ perennial.wilson('high', 'hits.n_hits', 'hits.n_newcomers') }} as double)
        as hit_rate_high,
    cast(hits.n_hits_of_all / cast(hits.n_newcomers as double) as double)
        as hit_rate_of_all,
    -- McNemar's test: of those whom one list alone hits, more than chance would give to it.
    cast(
        hits.n_hits_alone - hits.n_hits_of_all_alone
        > 1.96 * sqrt(hits.n_hits_alone + hits.n_hits_of_all_alone) as boolean
    ) as is_better_than_all
from hits
cross join cuts
