-- What the first order held, and from what day on that was known.
select distinct
    items.customer_id,
    items.product_id,
    customers.country,
    customers.channel,
    customers.first_device,
    views.category as first_viewed_category,
    views.product_id as first_viewed_product,
    orders.ordered_on,
    cast({{ perennial.local_date('orders.known_at') }} as date) as known_on,
    views.known_on as viewed_known_on
from {{ ref('orders') }} as orders
inner join {{ ref('order_items') }} as items
    on orders.order_id = items.order_id
inner join {{ ref('customers') }} as customers
    on orders.customer_id = customers.customer_id
left join {{ ref('first_views') }} as views
    on orders.customer_id = views.customer_id
where orders.is_first_order
