-- New on the day of a cut is what was first sold in the thirty days before it, or stands in the
-- catalogue and was never sold.
with cuts as (
    {%- for cut_number in [1, 2, 3] %}
    select
        {{ cut_number }} as cut_number,
        {{ perennial.add_days(
            'as_of_on', (cut_number - 3) * perennial.setting('churn_horizon_days')
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
        {{ perennial.cut_number('orders.known_at') | indent(8) }} as cut_number
    from {{ ref('order_items') }} as items
    inner join {{ ref('orders') }} as orders
        on items.order_id = orders.order_id
    cross join {{ ref('clock') }} as clock
    where not items.is_cancelled
),

sold as (
    select
        cuts.cut_number,
        known.product_id,
        min(known.ordered_on) as first_sold_on,
        count(distinct known.customer_id) as n_customers
    from cuts
    inner join known
        on cuts.cut_number >= known.cut_number
    group by all
),

-- A row of the catalogue that does not say when it came in was there only now.
catalogue as (
    select
        products.product_id,
        {{ perennial.cut_number('products.first_ingested_at') | indent(8) }}
            as cut_number
    from {{ ref('stg_products') }} as products
    cross join {{ ref('clock') }} as clock
),

listed as (
    select
        cuts.cut_number,
        catalogue.product_id
    from cuts
    inner join catalogue
        on cuts.cut_number >= catalogue.cut_number
)

select
    cast({{ perennial.cut_name('cuts.cut_number') | indent(4) }} as string) as cut,
    cast(coalesce(sold.product_id, listed.product_id) as string) as product_id,
    cast(sold.first_sold_on as date) as first_sold_on,
    cast(coalesce(sold.n_customers, 0) as bigint) as n_customers
from sold
full join listed
    on
        sold.cut_number = listed.cut_number
        and sold.product_id = listed.product_id
inner join cuts
    on cuts.cut_number = coalesce(sold.cut_number, listed.cut_number)
where
    sold.first_sold_on is null
    or sold.first_sold_on > {{ perennial.add_days('cuts.cut_on', -30) }}
