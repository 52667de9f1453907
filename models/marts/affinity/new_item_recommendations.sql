select
    cast(shown.customer_id as string) as customer_id,
    cast(shown.recommendation_rank as integer) as recommendation_rank,
    cast(shown.product_id as string) as product_id,
    cast(items.first_sold_on as date) as first_sold_on,
    cast(items.n_customers as bigint) as n_customers,
    cast(shown.way as string) as way,
    cast(shown.score as double) as score,
    cast(shown.because_product_id as string) as because_product_id,
    cast(
        case
            when shown.because_product_id is not null
                then
                    'new, and like '
                    || coalesce(because.name, shown.because_product_id)
            when items.n_customers = 0 then 'new; nobody has bought it yet'
            else 'new; bought by ' || items.n_customers || ' so far'
        end as string
    ) as explanation
from {{ ref('py_new_item_recommendations') }} as shown
inner join {{ ref('new_items') }} as items
    on
        items.cut = 'today'
        and shown.product_id = items.product_id
left join {{ ref('products') }} as because
    on shown.because_product_id = because.product_id
