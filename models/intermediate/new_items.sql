-- New on the day of a cut is what was first sold in the thirty days before it, or stands in the
-- catalogue and was never sold.
with cuts as (
    {%- for cut in ['validation', 'test', 'today'] %}
    select
        '{{ cut }}' as cut,
        {{ perennial.add_days(
            'as_of_on', (loop.index - 3) * perennial.setting('churn_horizon_days')
        ) }} as cut_on
    from {{ ref('clock') }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

known as (
    select
        items.product_id,
        items.customer_id,
        items.ordered_on,
        cast({{ perennial.local_date('orders.known_at') }} as date) as known_on
    from {{ ref('order_items') }} as items
    inner join {{ ref('orders') }} as orders
        on items.order_id = orders.order_id
    where not items.is_cancelled
),

sold as (
    select
        cuts.cut,
        known.product_id,
        min(known.ordered_on) as first_sold_on,
        count(distinct known.customer_id) as n_customers
    from cuts
    inner join known
        on
            cuts.cut_on >= known.ordered_on
            and cuts.cut_on >= known.known_on
    group by all
),

-- A row of the catalogue that does not say when it came in was there only now.
listed as (
    select
        cuts.cut,
        catalogue.product_id
    from cuts
    inner join {{ ref('stg_products') }} as catalogue
        on
            cuts.cut = 'today'
            or cuts.cut_on
            >= cast({{ perennial.local_date('catalogue.first_ingested_at') }} as date)
)

select
    cast(cuts.cut as string) as cut,
    cast(coalesce(sold.product_id, listed.product_id) as string) as product_id,
    cast(sold.first_sold_on as date) as first_sold_on,
    cast(coalesce(sold.n_customers, 0) as bigint) as n_customers
from sold
full join listed
    on
        sold.cut = listed.cut
        and sold.product_id = listed.product_id
inner join cuts
    on cuts.cut = coalesce(sold.cut, listed.cut)
where
    sold.first_sold_on is null
    or sold.first_sold_on > {{ perennial.add_days('cuts.cut_on', -30) }}
