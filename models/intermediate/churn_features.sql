{%- set horizon = perennial.setting('churn_horizon_days') %}
{%- call perennial.touched() %}
    with customers as (
        {{ perennial.changes('orders', 'customer_id') }}
        union
        {{ perennial.changes('order_items', 'customer_id') }}
        union
        {{ perennial.changes('refunds', 'customer_id') }}
        union
        {{ perennial.changes('events', 'customer_id') }}
        union
        {{ perennial.changes('reviews', 'customer_id') }}
        union
        {{ perennial.changes('churn_sample', 'customer_id') }}
    ),

    snapshots as (
        select cast(snapshot_on as date) as snapshot_on
        from ({{ perennial.changes('churn_snapshots', 'snapshot_on') }}) as changed
    ),

    pairs as (
        select
            sample.customer_id,
            snapshots.snapshot_on
        from {{ ref('churn_sample') }} as sample
        cross join {{ ref('churn_snapshots') }} as snapshots
        union
        select
            customer_id,
            snapshot_on
        from {{ this }}
    )

    select
        customer_id,
        snapshot_on
    from pairs
    where
        customer_id in (select customer_id from customers)
        or snapshot_on in (select snapshot_on from snapshots)
{%- endcall %}
with wanted as (
    select
        sample.customer_id,
        snapshots.snapshot_on,
        snapshots.snapshot_at
    from {{ ref('churn_sample') }} as sample
    cross join {{ ref('churn_snapshots') }} as snapshots
    {{ perennial.touched_only('sample.customer_id, snapshots.snapshot_on') }}
),

features as (
    {{ perennial.customer_features('wanted') }}
),

-- An order that has happened counts, whenever it became known: this is the truth to predict.
next_orders as (
    select
        wanted.customer_id,
        wanted.snapshot_on,
        min(
            {{ perennial.seconds_between('wanted.snapshot_at', 'orders.ordered_at') }}
        ) / 86400.0 as days_until_order
    from wanted
    inner join {{ ref('orders') }} as orders
        on
            wanted.customer_id = orders.customer_id
            and orders.ordered_at > wanted.snapshot_at
            and orders.ordered_at
            <= wanted.snapshot_at + {{ horizon }} * interval '1' day
    where not orders.is_cancelled
    group by all
)

select
    cast(features.customer_id as string) as customer_id,
    cast(features.snapshot_on as date) as snapshot_on,
    cast(wanted.snapshot_at as timestamp) as snapshot_at,
    cast({{ horizon }} as integer) as horizon_days,
    {%- for feature in perennial.churn_feature_names() %}
    features.{{ feature }},
    {%- endfor %}
    cast(next_orders.customer_id is null as boolean) as is_churned,
    cast(next_orders.days_until_order as double) as days_until_order
from features
inner join wanted
    on
        features.customer_id = wanted.customer_id
        and features.snapshot_on = wanted.snapshot_on
left join next_orders
    on
        features.customer_id = next_orders.customer_id
        and features.snapshot_on = next_orders.snapshot_on
